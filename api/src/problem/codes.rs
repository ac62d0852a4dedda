//! Every code that a problem can carry, with its status and its title in both languages.

/// One kind of problem.
#[derive(Debug, PartialEq, Eq)]
pub struct Code {
    /// Its stable name, `<resource>.<condition>`.
    pub name: &'static str,
    /// The HTTP status it goes with.
    pub status: u16,
    /// Its title in English.
    pub english: &'static str,
    /// Its title in French.
    pub french: &'static str,
}

/// The code of this name; [`INTERNAL`] when there is none.
pub fn find(name: &str) -> &'static Code {
    ALL.iter().find(|code| code.name == name).copied().unwrap_or(&INTERNAL)
}

/// The table: one constant for each line, and all of them in `ALL`.
macro_rules! codes {
    ($($constant:ident $status:literal $name:literal $english:literal $french:literal)*) => {
        $(
            #[doc = $english]
            pub static $constant: Code =
                Code { name: $name, status: $status, english: $english, french: $french };
        )*
        /// Every code.
        pub static ALL: &[&Code] = &[$(&$constant),*];
    };
}

codes! {
    REQUEST_MALFORMED 400 "request.malformed" "The request is malformed" "La requête est malformée"
    BODY_MALFORMED 400 "body.malformed" "The body is not well-formed JSON" "Le corps n'est pas du JSON bien formé"
    HEADER_INVALID 400 "header.invalid" "A header cannot be understood" "Un en-tête ne peut pas être compris"
    IDEMPOTENCY_KEY_INVALID 400 "idempotency.key_invalid" "The idempotency key is not acceptable" "La clé d'idempotence n'est pas acceptable"

    AUTH_REQUIRED 401 "auth.required" "Authentication is required" "Une authentification est requise"
    AUTH_INVALID_TOKEN 401 "auth.invalid_token" "The access token is not valid" "Le jeton d'accès n'est pas valable"
    AUTH_SESSION_ENDED 401 "auth.session_ended" "The session has ended" "La session est terminée"
    AUTH_INVALID_CREDENTIALS 401 "auth.invalid_credentials" "The address or the password is wrong" "L'adresse ou le mot de passe est faux"
    AUTH_TOTP_REQUIRED 401 "auth.totp_required" "A code of the second factor is required" "Un code du second facteur est requis"
    AUTH_INVALID_TOTP 401 "auth.invalid_totp" "The code is wrong, or was used already" "Le code est faux, ou a déjà servi"
    AUTH_INVALID_REFRESH_TOKEN 401 "auth.invalid_refresh_token" "The refresh token is not valid" "Le jeton de rafraîchissement n'est pas valable"

    ACCESS_FORBIDDEN 403 "access.forbidden" "This is not allowed to you" "Cela ne vous est pas permis"
    AUTH_WRONG_PASSWORD 403 "auth.wrong_password" "The current password is wrong" "Le mot de passe actuel est faux"
    AUTH_STEP_UP_REQUIRED 403 "auth.step_up_required" "This needs a fresh log-in" "Cela demande une connexion récente"
    AUTH_CSRF_FAILED 403 "auth.csrf_failed" "Another site may have sent this" "Un autre site a pu envoyer ceci"
    AUTH_SCOPE_MISSING 403 "auth.scope_missing" "The token is not meant for this" "Le jeton n'est pas prévu pour cela"
    BREAK_GLASS_SECOND_PERSON 403 "break_glass.second_person_required" "Somebody else has to agree" "Quelqu'un d'autre doit consentir"
    BREAK_GLASS_CLOSED 403 "break_glass.closed" "It was not agreed to, or no longer is" "Cela n'a pas été accordé, ou ne l'est plus"
    ERASURE_SECOND_APPROVAL_REQUIRED 403 "erasure.second_approval_required" "Another admin has to agree" "Un autre administrateur doit consentir"
    ACCOUNT_UNVERIFIED 403 "account.unverified" "The e-mail address has not been proved yet" "L'adresse e-mail n'est pas encore confirmée"
    ORIGIN_NOT_ALLOWED 403 "origin.not_allowed" "Pages of this origin are not allowed to call" "Les pages de cette origine n'ont pas le droit d'appeler"
    ORGANIZATION_BEYOND_OWN_PERMISSIONS 403 "organization.beyond_own_permissions" "This takes permissions that you do not have" "Cela demande des permissions que vous n'avez pas"
    ACCOUNT_SUSPENDED 403 "account.suspended" "The account is suspended" "Le compte est suspendu"

    OIDC_FAILED 400 "oidc.failed" "Logging in at the provider failed" "La connexion chez le fournisseur a échoué"
    PROVIDER_NOT_FOUND 404 "provider.not_found" "There is no such provider" "Ce fournisseur n'existe pas"
    IDENTITY_NOT_FOUND 404 "identity.not_found" "There is no such identity" "Cette identité n'existe pas"
    IDENTITY_TAKEN 409 "identity.taken" "This identity belongs to another account, or the account to another identity" "Cette identité appartient à un autre compte, ou le compte à une autre identité"
    IDENTITY_LAST 409 "identity.last" "It is the only way into the account" "C'est le seul accès au compte"
    IDENTITY_UNVERIFIED 409 "identity.unverified" "The provider has verified no address to open an account with" "Le fournisseur n'a vérifié aucune adresse pour ouvrir un compte"
    PROVIDER_UNAVAILABLE 503 "provider.unavailable" "The provider does not answer" "Le fournisseur ne répond pas"
    LINK_INVALID 400 "link.invalid" "The link is not good, or no longer" "Le lien n'est pas valable, ou ne l'est plus"
    ROUTE_NOT_FOUND 404 "route.not_found" "There is nothing at this address" "Il n'y a rien à cette adresse"
    DOSSIER_NOT_FOUND 404 "dossier.not_found" "There is no such dossier" "Ce dossier n'existe pas"
    ACCOUNT_NOT_FOUND 404 "account.not_found" "There is no such account" "Ce compte n'existe pas"
    SESSION_NOT_FOUND 404 "session.not_found" "There is no such session" "Cette session n'existe pas"
    API_TOKEN_NOT_FOUND 404 "api_token.not_found" "There is no such token" "Ce jeton n'existe pas"
    POST_NOT_FOUND 404 "post.not_found" "There is no such post" "Cette publication n'existe pas"
    COMMENT_NOT_FOUND 404 "comment.not_found" "There is no such comment" "Ce commentaire n'existe pas"
    EVENT_NOT_FOUND 404 "event.not_found" "There is no such live event" "Cet événement n'existe pas"
    ORGANIZATION_NOT_FOUND 404 "organization.not_found" "There is no such organisation" "Cette organisation n'existe pas"
    INVITATION_NOT_FOUND 404 "invitation.not_found" "There is no such invitation" "Cette invitation n'existe pas"
    MEMBER_NOT_FOUND 404 "member.not_found" "There is no such member" "Ce membre n'existe pas"
    ROLE_NOT_FOUND 404 "role.not_found" "There is no such role" "Ce rôle n'existe pas"
    AVATAR_NOT_FOUND 404 "avatar.not_found" "The account shows no picture" "Ce compte ne montre pas d'image"
    VERSION_NOT_FOUND 404 "version.not_found" "There was no such version" "Cette version n'a pas existé"
    PROJECTION_NOT_FOUND 404 "projection.not_found" "There is no such projection" "Cette projection n'existe pas"
    BREAK_GLASS_NOT_FOUND 404 "break_glass.not_found" "There is no such request" "Cette demande n'existe pas"
    EXPORT_NOT_FOUND 404 "export.not_found" "There is no such export" "Cet export n'existe pas"
    AGGREGATE_NOT_FOUND 404 "aggregate.not_found" "There is no such aggregate" "Cet agrégat n'existe pas"
    FAILURE_NOT_FOUND 404 "failure.not_found" "There is no such failure, or not any more" "Cet échec n'existe pas, ou plus"
    READ_MODEL_NOT_FOUND 404 "read_model.not_found" "There is no such read model" "Ce modèle de lecture n'existe pas"

    GRAPHQL_INVALID 400 "graphql.invalid" "It is no query of this graph" "Ce n'est pas une requête de ce graphe"
    GRAPHQL_TOO_COMPLEX 400 "graphql.too_complex" "The query asks for too much at once" "La requête demande trop à la fois"
    METHOD_NOT_ALLOWED 405 "method.not_allowed" "The method is not allowed here" "La méthode n'est pas permise ici"
    BODY_TIMEOUT 408 "body.timeout" "The body took too long to arrive" "Le corps a mis trop de temps à arriver"

    EXPORT_NOT_FINISHED 409 "export.not_finished" "The export is not finished" "L'export n'est pas terminé"
    REBUILD_NOT_RUNNING 409 "rebuild.not_running" "No rebuild is under way" "Aucune reconstruction n'est en cours"
    REBUILD_RUNNING 409 "rebuild.running" "A rebuild or verification is under way" "Une reconstruction ou une vérification est en cours"
    AGGREGATE_HELD 409 "aggregate.held" "An event of the aggregate cannot be applied: retry or skip it first" "Un événement de l'agrégat ne peut pas être appliqué : réessayez-le ou omettez-le d'abord"
    NOTHING_RETIRED 409 "rebuild.nothing_retired" "No earlier rows are kept" "Aucune ligne précédente n'est gardée"
    RETIRED_OTHER_VERSION 409 "rebuild.other_version" "The earlier rows are of another version" "Les lignes précédentes sont d'une autre version"
    COMMAND_REFUSED 409 "command.refused" "The command is refused" "La commande est refusée"
    ACCOUNT_ADDRESS_TAKEN 409 "account.address_taken" "The e-mail address has an account already" "L'adresse e-mail a déjà un compte"
    ACCOUNT_ALREADY_VERIFIED 409 "account.already_verified" "The address is verified already" "L'adresse est déjà vérifiée"
    ACCOUNT_ALREADY_REGISTERED 409 "account.already_registered" "The account is registered already" "Le compte est déjà inscrit"
    ACCOUNT_OWN_RIGHTS 409 "account.own_rights" "Admins keep their own rights" "Les administrateurs gardent leurs propres droits"
    ERASURE_NOT_REQUESTED 409 "erasure.not_requested" "Nobody asked for this erasure" "Personne n'a demandé cet effacement"
    TOTP_NOT_BEGUN 409 "totp.not_begun" "A second factor has to be begun first" "Il faut d'abord commencer un second facteur"
    TOTP_ALREADY_ENABLED 409 "totp.already_enabled" "There is a second factor already" "Il y a déjà un second facteur"
    API_TOKEN_TOO_MANY 409 "api_token.too_many" "The account has too many tokens" "Le compte a trop de jetons"
    DOSSIER_INVALID_TRANSITION 409 "dossier.invalid_transition" "The dossier's state does not allow this" "L'état du dossier ne le permet pas"
    DOSSIER_NOTHING_CHANGED 409 "dossier.nothing_changed" "Nothing changed since the change request" "Rien n'a changé depuis la demande de modification"
    DOSSIER_NOT_THE_REVIEWER 409 "dossier.not_the_reviewer" "Only the dossier's reviewer may do this" "Seul l'instructeur du dossier peut le faire"
    DOSSIER_OWN_REVIEW 409 "dossier.own_review" "No one reviews a dossier of their own" "Nul n'instruit son propre dossier"
    POST_ALREADY_PUBLISHED 409 "post.already_published" "The post is published already" "La publication est déjà en ligne"
    COMMENT_ALREADY_WRITTEN 409 "comment.already_written" "The comment is written already" "Le commentaire est déjà écrit"
    COMMENT_TOO_DEEP 409 "comment.too_deep" "The tree of comments would grow too deep" "L'arbre des commentaires deviendrait trop profond"
    EVENT_INVALID_TRANSITION 409 "event.invalid_transition" "The live event's status does not allow this" "Le statut de l'événement ne le permet pas"
    EVENT_CANCELLED 409 "event.cancelled" "The live event is cancelled" "L'événement est annulé"
    EVENT_ENDED 409 "event.ended" "The live event is over" "L'événement est terminé"
    EVENT_CAPACITY_BELOW_CONFIRMED 409 "event.capacity_below_confirmed" "More people have a seat already" "Plus de personnes ont déjà une place"
    ORGANIZATION_ALREADY_CREATED 409 "organization.already_created" "The organisation exists already" "L'organisation existe déjà"
    ORGANIZATION_ALREADY_INVITED 409 "organization.already_invited" "The address was invited already, as something else" "L'adresse est déjà invitée, à un autre titre"
    ORGANIZATION_ALREADY_MEMBER 409 "organization.already_member" "The account is a member already" "Le compte est déjà membre"
    ORGANIZATION_LAST_ADMIN 409 "organization.last_admin" "The organisation keeps an admin" "L'organisation garde un administrateur"
    ORGANIZATION_ROLE_IN_USE 409 "organization.role_in_use" "Somebody has this role" "Quelqu'un a ce rôle"
    ORGANIZATION_FULL 409 "organization.full" "The organisation has as many as it can" "L'organisation n'a plus de place"
    PERSON_ERASED 409 "person.erased" "The person's data was erased" "Les données de la personne ont été effacées"

    VERSION_MISMATCH 412 "version.mismatch" "The version is another one now" "La version n'est plus celle-là"
    BODY_TOO_LARGE 413 "body.too_large" "The body is too large" "Le corps est trop grand"
    URI_TOO_LONG 414 "uri.too_long" "The address is too long" "L'adresse est trop longue"
    BODY_UNSUPPORTED_MEDIA_TYPE 415 "body.unsupported_media_type" "The body must be application/json" "Le corps doit être du type application/json"
    AVATAR_UNSUPPORTED_MEDIA_TYPE 415 "avatar.unsupported_media_type" "A picture must be PNG, JPEG or WebP" "Une image doit être du type PNG, JPEG ou WebP"
    REQUEST_MISDIRECTED 421 "request.misdirected" "The request was meant for another host" "La requête était destinée à un autre hôte"

    FIELD_UNKNOWN 422 "field.unknown" "The body has a field that is not known here" "Le corps a un champ inconnu ici"
    FIELD_REQUIRED 422 "field.required" "The body lacks a field" "Il manque un champ au corps"
    FIELD_INVALID 422 "field.invalid" "A field cannot be accepted" "Un champ ne peut pas être accepté"
    PARAMETER_UNKNOWN 422 "parameter.unknown" "A query parameter is not known here" "Un paramètre de requête est inconnu ici"
    PARAMETER_INVALID 422 "parameter.invalid" "A query parameter cannot be accepted" "Un paramètre de requête ne peut pas être accepté"
    CURSOR_INVALID 422 "cursor.invalid" "The cursor does not belong to this list" "Le curseur n'appartient pas à cette liste"
    IDEMPOTENCY_KEY_REUSED 422 "idempotency.key_reused" "The idempotency key came with another request before" "La clé d'idempotence a déjà servi à une autre requête"
    ACCOUNT_INVALID 422 "account.invalid" "Some of the account's fields cannot be accepted" "Certains champs du compte ne peuvent pas être acceptés"
    BREAK_GLASS_INVALID 422 "break_glass.invalid" "The reason cannot be accepted" "Le motif ne peut pas être accepté"
    EXPORT_INVALID 422 "export.invalid" "The export cannot be made" "L'export ne peut pas être fait"
    FAILURE_INVALID 422 "failure.invalid" "The reason cannot be accepted" "Le motif ne peut pas être accepté"
    API_TOKEN_INVALID 422 "api_token.invalid" "Some of the token's fields cannot be accepted" "Certains champs du jeton ne peuvent pas être acceptés"
    DOSSIER_INVALID 422 "dossier.invalid" "Some of the dossier's fields cannot be accepted" "Certains champs du dossier ne peuvent pas être acceptés"
    POST_INVALID 422 "post.invalid" "The text of the post cannot be accepted" "Le texte de la publication ne peut pas être accepté"
    COMMENT_INVALID 422 "comment.invalid" "The text of the comment cannot be accepted" "Le texte du commentaire ne peut pas être accepté"
    EVENT_INVALID 422 "event.invalid" "Some of the live event's fields cannot be accepted" "Certains champs de l'événement ne peuvent pas être acceptés"
    ORGANIZATION_INVALID 422 "organization.invalid" "Some of the organisation's fields cannot be accepted" "Certains champs de l'organisation ne peuvent pas être acceptés"
    AVATAR_INVALID 422 "avatar.invalid" "The picture cannot be read, or is too large" "L'image ne peut pas être lue, ou est trop grande"
    CONTENT_INVALID 422 "content.invalid" "The content cannot be stored" "Le contenu ne peut pas être enregistré"

    AUTH_TOO_MANY_ATTEMPTS 429 "auth.too_many_attempts" "Too many wrong attempts; try again later" "Trop d'essais erronés ; réessayez plus tard"
    EXPORTS_TOO_MANY 429 "export.too_many" "Several exports are still being made" "Plusieurs exports sont encore en préparation"
    RATE_LIMITED 429 "request.rate_limited" "Too many requests; try again later" "Trop de requêtes ; réessayez plus tard"
    HEADERS_TOO_LARGE 431 "headers.too_large" "The headers are too large" "Les en-têtes sont trop grands"

    INTERNAL 500 "internal" "Something went wrong on our side" "Une erreur est survenue de notre côté"
    STORE_UNAVAILABLE 503 "store.unavailable" "The event store does not answer; nothing was done" "Le journal ne répond pas ; rien n'a été fait"
    STORE_OUTCOME_UNKNOWN 503 "store.outcome_unknown" "It is not known yet whether the command was executed" "On ne sait pas encore si la commande a été exécutée"
    COMMAND_CONTENTION 503 "command.contention" "Too many commands at once on one aggregate" "Trop de commandes à la fois sur un même agrégat"
    EXPORTS_UNAVAILABLE 503 "export.unavailable" "Exports cannot be kept or read right now" "Les exports ne peuvent être gardés ni lus en ce moment"
    TABLES_BUSY 503 "read_model.busy" "Too many tables are being read at once" "Trop de tableaux sont lus à la fois"
    STREAMS_BUSY 503 "stream.busy" "Too many streams are being followed" "Trop de flux sont suivis"
    AUTH_BUSY 503 "auth.busy" "Too many log-ins at once" "Trop de connexions à la fois"
    SERVER_OVERLOADED 503 "server.overloaded" "Too many requests are in progress; nothing was done" "Trop de requêtes sont en cours ; rien n'a été fait"
    REQUEST_TIMEOUT 503 "request.timeout" "The answer took too long" "La réponse a mis trop de temps"
    PROJECTION_LAGGING 504 "projection.lagging" "The read model has not come that far yet" "Le modèle de lecture n'en est pas encore là"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_name_of_its_own() {
        let names: std::collections::HashSet<&str> = ALL.iter().map(|code| code.name).collect();
        assert_eq!(names.len(), ALL.len());
    }

    #[test]
    fn an_unknown_name_is_internal() {
        assert_eq!(find("nonsense"), &INTERNAL);
        assert_eq!(find("dossier.not_found"), &DOSSIER_NOT_FOUND);
    }
}
