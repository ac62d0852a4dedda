"""Who schemathesis is, and the little of what it makes up that is not sent."""

import os
import uuid

import requests
import schemathesis
from schemathesis.generation.meta import TestPhase

URL = os.environ["CAPITUNE_URL"]
ADMIN = {"email": os.environ["CAPITUNE_ADMIN_EMAIL"], "password": os.environ["CAPITUNE_ADMIN_PASSWORD"]}
ROLES = ["applicant", "pro", "auditor", "analyst", "moderator", "organizer", "admin"]


def call(method, path, body, token=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = requests.request(method, URL + path, json=body, headers=headers, timeout=30)
    answer.raise_for_status()
    return answer.json()


def account_of(case, context):
    """One account does everything, so that it finds what it made, but for what ends a session or an account."""
    path = context.operation.path
    return context.operation.label if path.startswith(("/api/auth/", "/api/users/me")) else EVERYTHING


EVERYTHING = "everything else"
accounts, tokens = {}, {}


@schemathesis.auth(refresh_interval=1800, cache_by_key=account_of)
class Everyone:
    """Somebody with every role."""

    def get(self, case, context):
        key = account_of(case, context)
        try:
            tokens[key] = call("POST", "/api/auth/login", accounts[key])["token"]
        except (KeyError, requests.HTTPError):
            tokens[key] = self.register(key)
        return tokens[key]

    def register(self, key):
        accounts[key] = {"email": f"{uuid.uuid4()}@capitune.test", "password": "a password for tests"}
        person = call("POST", "/api/auth/register", {"name": "Everyone", **accounts[key]})
        admin = call("POST", "/api/auth/login", ADMIN)["token"]
        call("PUT", f"/api/admin/users/{person['user']['id']}/roles", {"roles": ROLES}, admin)
        return person["token"]

    def set(self, case, token, context):
        case.headers["Authorization"] = f"Bearer {token}"


@schemathesis.hook
def filter_case(context, case):
    # To HTTP a header that nobody knows is no mistake: it is ignored.
    return not any("schemathesis-unknown-property" in name.lower() for name in case.headers or {})


head = 0


@schemathesis.hook
def after_call(context, case, response):
    global head
    head = max(head, *map(int, response.headers.get("capitune-position", ["0"])))


EVENT = {"title": "x", "timeZone": "UTC", "startsAt": "2999-01-01T00:00:00Z", "endsAt": "2999-01-02T00:00:00Z"}
made = {}


def one_of(things, token):
    """The id of something that is there, new every 20 times: some of what is done to it cannot be done again."""
    known, uses = made.get(things, (None, 0))
    if known is None or uses == 20:
        known, uses = make(things, token), 0
    made[things] = (known, uses + 1)
    return known


def make(things, token):
    if things == "dossiers":
        return call("POST", "/api/dossiers", {"title": "x", "category": "x"}, token)["id"]
    if things == "posts":
        return call("POST", "/api/posts", {"body": "x"}, token)["id"]
    if things == "comments":
        return call("POST", f"/api/posts/{make('posts', token)}/comments", {"body": "x"}, token)["id"]
    if things == "organizations":
        return call("POST", "/api/organizations", {"name": "x"}, token)["id"]
    if things == "events":
        event = call("POST", "/api/admin/events", EVENT, token)["id"]
        call("POST", f"/api/admin/events/{event}/publish", {}, token)
        return event
    account = {"email": f"{uuid.uuid4()}@capitune.test", "password": "a password for tests", "name": "Somebody"}
    return call("POST", "/api/auth/register", account)["user"]["id"]


def name_something_real(case):
    things = case.operation.path.partition("/{id}")[0].rsplit("/", 1)[-1]
    real = things in ("dossiers", "posts", "comments", "events", "organizations", "users")
    if real and is_uuid(case.path_parameters.get("id")) and EVERYTHING in tokens:
        case.path_parameters["id"] = one_of(things, tokens[EVERYTHING])


def is_uuid(value):
    try:
        return bool(uuid.UUID(value))
    except (AttributeError, TypeError, ValueError):
        return False


@schemathesis.hook
def before_call(context, case, kwargs):
    # What is found by its links is real already.
    if case.meta and case.meta.phase.name != TestPhase.STATEFUL:
        name_something_real(case)
    # Nobody waits for a position that never comes.
    wanted = [case.query.get("minPosition", 0), case.headers.get("Capitune-Min-Position", 0)]
    if case.method == "GET" and any(not str(position).isdigit() or int(position) > head for position in wanted):
        case.headers["Prefer"] = "wait=0"
    if isinstance(case.query.get("wait"), int):
        case.query["wait"] = min(case.query["wait"], 1)
    # Schemathesis makes up no quotes in headers, and an empty one in place of what needs them.
    if case.headers.get("If-Match") == "":
        del case.headers["If-Match"]
