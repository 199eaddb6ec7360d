//! English, the pages of users.

use time::OffsetDateTime;

use crate::locale::Users;

pub(super) const TEXTS: Users = Users {
    title: "Users",
    count: |count| match count {
        1 => "1 user".to_owned(),
        _ => format!("{count} users"),
    },
    more_than: |count| format!("more than {count} users"),
    no_such_role: "A user is an administrator or a user.",
    who_is_listed: "You and everybody who has published a quiz.",
    new_user: "New user",
    none_here: "There are no users on this page.",
    administrator: "Administrator",
    user: "User",
    profile: "Your profile",
    photo_of: |name| format!("Photo of {name}"),
    published: "Quizzes published",
    quizzes_of: |name| format!("Quizzes of {name}"),
    best_score: "Best score in random play",
    member_since: "Member since",
    date,
    account: "Account",
    local_account: "Local account: logs in here with a password",
    account_at: |name, provider| format!("{name} ({provider})"),
    role: "Role",
    edit: "Edit",
    delete: "Delete",
    token: "API token",
    token_use: "Programs that use the API send it in the header Authorization: Bearer.",
    token_once: "This is your new token. Copy it now: it is shown only this once.",
    token_none: "You have no token.",
    token_until: |date| format!("You have a token. It is valid until {date}."),
    token_expired: "Your token has expired.",
    token_create: "Create a token",
    token_renew: "Replace it by a new one",
    token_revoke: "Revoke it",
    make_admin: "Make this user an administrator",
    make_user: "Take the role of administrator away",
    admin_may: "Administrators may edit and delete every quiz and every user.",
    last_admin: "This is the only administrator. Make somebody else an administrator first.",
    delete_title: |name| format!("Delete {name}?"),
    delete_text: "The account, its photo, its favourites and its best score go for good. Its quizzes stay, without the name of their author.",
    delete_own: "This is your own account: you will be logged out.",
    register: "Register local account",
    create: "Create the user",
    edit_title: |name| format!("Edit {name}"),
    photo: "Photo",
    photo_hint: "PNG, JPEG, GIF or WebP.",
    photo_again: "Choose it again: a browser does not keep it.",
    photo_keep: "Keep the photo",
    photo_keep_hint: "Untick it to remove this one. A photo that you choose below replaces it.",
    save: "Save",
    username_hint: |max| format!("At most {max} characters. It cannot be changed later."),
    username_fixed: "The user name cannot be changed.",
    password_hint: |min| {
        format!(
            "At least {min} characters, with a digit and an upper-case letter, and hard to guess."
        )
    },
    password_repeat: "Repeat the password",
    password_current: "Current password",
    password_current_hint: "Only needed to change the password.",
    password_new: "New password",
    password_blank: "Leave it blank to keep the password. A new one ends all other sessions.",
    password_again: "Type the passwords again: they are not sent back.",
    username_empty: "Username must not be empty.",
    username_too_long: |max| format!("Username must have at most {max} characters."),
    username_invisible: "Username must not have characters that cannot be seen.",
    username_taken: |name| format!("User \"{name}\" already exists."),
    password_empty: "Password must not be empty.",
    password_too_short: |min| format!("Password must have at least {min} characters."),
    password_too_long: |max| format!("Password must have at most {max} bytes."),
    password_no_digit: "Password must have a digit.",
    password_no_upper_case: "Password must have an upper-case letter.",
    password_common: "This password is easy to guess. Choose another one, for example three words that do not belong together.",
    password_not_repeated: "The two passwords are not equal.",
    password_wrong: "This is not your current password.",
};

/// The day of a moment (UTC).
fn date(moment: &OffsetDateTime) -> String {
    let months = [
        "January",
        "February",
        "March",
        "April",
        "May",
        "June",
        "July",
        "August",
        "September",
        "October",
        "November",
        "December",
    ];
    let month = months[usize::from(u8::from(moment.month())) - 1];
    format!("{} {} {}", moment.day(), month, moment.year())
}
