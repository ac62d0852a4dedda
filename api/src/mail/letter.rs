//! What messages say, in both languages, as text and as HTML.

use domain::account::Locale;
use html_escape::encode_safe;
use projections::mail::Template;

/// What one message says.
struct Content {
    subject: &'static str,
    lines: &'static [&'static str],
    /// What its link is for, when it has one.
    action: Option<&'static str>,
}

/// A message, written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// The subject.
    pub subject: String,
    /// As plain text.
    pub text: String,
    /// As HTML.
    pub html: String,
}

impl Letter {
    /// The message to somebody, by name where that is known, with the link that its template calls for.
    pub fn write(template: Template, locale: Locale, name: Option<&str>, link: Option<&str>) -> Self {
        let Content { subject, lines, action } = content(template, locale);
        let (greeting, closing, language) = match locale {
            Locale::Fr => ("Bonjour", "Capitune — ce message vous a été envoyé automatiquement.", "fr"),
            Locale::En => ("Hello", "Capitune — this message was sent to you automatically.", "en"),
        };
        let link = action.zip(link);
        let greeting = name.map_or_else(|| greeting.to_owned(), |name| format!("{greeting} {name}"));
        let mut text = format!("{greeting},\n\n{}\n", lines.join("\n\n"));
        let paragraphs: String = lines.iter().map(|line| format!("<p>{}</p>\n", encode_safe(line))).collect();
        let mut html = format!(
            "<!doctype html>\n<html lang=\"{language}\">\n<body style=\"font-family: sans-serif\">\n\
             <p>{},</p>\n{paragraphs}",
            encode_safe(&greeting)
        );
        if let Some((action, link)) = link {
            text.push_str(&format!("\n{action}:\n{link}\n"));
            let link = encode_safe(link);
            html.push_str(&format!("<p><a href=\"{link}\">{}</a></p>\n<p>{link}</p>\n", encode_safe(action)));
        }
        text.push_str(&format!("\n-- \n{closing}\n"));
        html.push_str(&format!("<hr>\n<p><small>{closing}</small></p>\n</body>\n</html>\n"));
        Self { subject: subject.to_owned(), text, html }
    }
}

fn content(template: Template, locale: Locale) -> Content {
    let plain = |subject, lines| Content { subject, lines, action: None };
    let linked = |subject, lines, action| Content { subject, lines, action: Some(action) };
    match (template, locale) {
        (Template::VerifyAddress | Template::RequestedAddress, Locale::Fr) => linked(
            "Confirmez votre adresse",
            &[
                "Pour confirmer que cette adresse est la vôtre, suivez le lien ci-dessous. Il est valable trois jours.",
                "Si vous n'avez rien demandé, ignorez ce message.",
            ],
            "Confirmer mon adresse",
        ),
        (Template::VerifyAddress | Template::RequestedAddress, Locale::En) => linked(
            "Confirm your address",
            &[
                "To confirm that this address is yours, follow the link below. It is good for three days.",
                "If you asked for nothing, ignore this message.",
            ],
            "Confirm my address",
        ),
        (Template::ResetPassword, Locale::Fr) => linked(
            "Choisissez un nouveau mot de passe",
            &[
                "Quelqu'un, vous sans doute, a oublié le mot de passe de votre compte. Le lien ci-dessous permet d'en \
                 choisir un autre. Il est valable une heure, une seule fois.",
                "Si ce n'était pas vous, ignorez ce message : votre mot de passe reste le même.",
            ],
            "Choisir un mot de passe",
        ),
        (Template::ResetPassword, Locale::En) => linked(
            "Choose a new password",
            &[
                "Somebody, most likely you, has forgotten the password of your account. The link below lets you choose \
                 another. It is good for one hour, once.",
                "If it was not you, ignore this message: your password stays the same.",
            ],
            "Choose a password",
        ),
        (Template::PasswordChanged, Locale::Fr) => plain(
            "Votre mot de passe a changé",
            &[
                "Le mot de passe de votre compte vient d'être changé.",
                "Si ce n'était pas vous, demandez-en un nouveau sans attendre.",
            ],
        ),
        (Template::PasswordChanged, Locale::En) => plain(
            "Your password was changed",
            &[
                "The password of your account was changed just now.",
                "If it was not you, ask for a new one without delay.",
            ],
        ),
        (Template::AddressChanged, Locale::Fr) => plain(
            "Votre adresse a changé",
            &[
                "Votre compte a désormais une autre adresse ; celle-ci n'en recevra plus rien.",
                "Si ce n'était pas vous, écrivez à l'administration sans attendre.",
            ],
        ),
        (Template::AddressChanged, Locale::En) => plain(
            "Your address was changed",
            &[
                "Your account has another address now; this one will hear nothing more of it.",
                "If it was not you, write to the administration without delay.",
            ],
        ),
        (Template::AddressReused, Locale::Fr) => plain(
            "Vous avez déjà un compte",
            &[
                "Quelqu'un a voulu ouvrir un compte avec cette adresse, qui en a déjà un : le vôtre.",
                "Si c'était vous, connectez-vous, ou demandez un nouveau mot de passe. Sinon, ignorez ce message.",
            ],
        ),
        (Template::AddressReused, Locale::En) => plain(
            "You have an account already",
            &[
                "Somebody wanted to open an account with this address, which has one already: yours.",
                "If it was you, sign in, or ask for a new password. If not, ignore this message.",
            ],
        ),
        (Template::TotpEnabled, Locale::Fr) => plain(
            "Second facteur activé",
            &[
                "Se connecter à votre compte demande désormais un code.",
                "Si ce n'était pas vous, écrivez à l'administration sans attendre.",
            ],
        ),
        (Template::TotpEnabled, Locale::En) => plain(
            "Second factor switched on",
            &[
                "Signing in to your account takes a code from now on.",
                "If it was not you, write to the administration without delay.",
            ],
        ),
        (Template::TotpDisabled, Locale::Fr) => plain(
            "Second facteur désactivé",
            &[
                "Se connecter à votre compte ne demande plus de code.",
                "Si ce n'était pas vous, changez votre mot de passe sans attendre.",
            ],
        ),
        (Template::TotpDisabled, Locale::En) => plain(
            "Second factor switched off",
            &[
                "Signing in to your account takes no code any more.",
                "If it was not you, change your password without delay.",
            ],
        ),
        (Template::Invitation, Locale::Fr) => linked(
            "Vous êtes invité à rejoindre une organisation",
            &[
                "Quelqu'un vous invite à rejoindre son organisation. Connectez-vous avec cette adresse, ou ouvrez un \
                 compte, pour voir de qui il s'agit et pour répondre. L'invitation est valable quatorze jours.",
                "Si cela ne vous dit rien, ignorez ce message.",
            ],
            "Voir l'invitation",
        ),
        (Template::Invitation, Locale::En) => linked(
            "You are invited to join an organisation",
            &[
                "Somebody invites you to join their organisation. Sign in with this address, or open an account, to see \
                 who it is and to answer. The invitation is good for fourteen days.",
                "If this tells you nothing, ignore this message.",
            ],
            "See the invitation",
        ),
        (Template::Suspended, Locale::Fr) => plain(
            "Votre compte est suspendu",
            &["L'administration a suspendu votre compte. Vous ne pouvez plus vous connecter."],
        ),
        (Template::Suspended, Locale::En) => plain(
            "Your account is suspended",
            &["The administration has suspended your account. You cannot sign in any more."],
        ),
        (Template::Reactivated, Locale::Fr) => plain(
            "Votre compte est rétabli",
            &["L'administration a rétabli votre compte. Vous pouvez vous connecter à nouveau."],
        ),
        (Template::Reactivated, Locale::En) => {
            plain("Your account is restored", &["The administration has restored your account. You can sign in again."])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_speaks_both_languages() {
        for template in Template::ALL {
            let french = Letter::write(template, Locale::Fr, Some("Ada"), Some("https://x/y?z=1&a=2"));
            let english = Letter::write(template, Locale::En, Some("Ada"), Some("https://x/y?z=1&a=2"));
            assert_ne!(french.subject, english.subject);
            assert!(french.text.starts_with("Bonjour Ada,") && english.text.starts_with("Hello Ada,"));
            assert!(french.html.contains("lang=\"fr\"") && english.html.contains("lang=\"en\""));
            let linked = matches!(
                template,
                Template::VerifyAddress | Template::RequestedAddress | Template::ResetPassword | Template::Invitation
            );
            assert_eq!(english.text.contains("https://x/y?z=1&a=2"), linked);
            assert_eq!(english.html.contains("z=1&amp;a=2"), linked);
        }
    }

    #[test]
    fn a_name_is_no_markup_and_may_be_missing() {
        let nobody = Letter::write(Template::Suspended, Locale::En, None, None);
        assert!(nobody.text.starts_with("Hello,\n") && nobody.html.contains("<p>Hello,</p>"));
        let letter = Letter::write(Template::Suspended, Locale::En, Some("<script>alert(1)</script>"), None);
        assert!(!letter.html.contains("<script>"));
        assert!(letter.html.contains("&lt;script&gt;"));
    }
}
