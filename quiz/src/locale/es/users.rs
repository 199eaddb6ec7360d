//! Spanish, the pages of users.

use time::OffsetDateTime;

use crate::locale::Users;

pub(super) const TEXTS: Users = Users {
    title: "Usuarios",
    count: |count| match count {
        1 => "1 usuario".to_owned(),
        _ => format!("{count} usuarios"),
    },
    more_than: |count| format!("más de {count} usuarios"),
    no_such_role: "La función solo puede ser la de administración o la normal.",
    who_is_listed: "Tú y todos los que han publicado algún quiz.",
    new_user: "Nuevo usuario",
    none_here: "No hay usuarios en esta página.",
    administrator: "Administración",
    user: "Usuario",
    profile: "Tu perfil",
    photo_of: |name| format!("Foto de {name}"),
    published: "Quizzes publicados",
    quizzes_of: |name| format!("Quizzes de {name}"),
    best_score: "Mejor puntuación en el juego al azar",
    member_since: "Miembro desde",
    date,
    account: "Cuenta",
    local_account: "Cuenta local: inicia sesión aquí con contraseña",
    account_at: |name, provider| format!("{name} ({provider})"),
    role: "Función",
    edit: "Editar",
    delete: "Borrar",
    token: "Token de la API",
    token_use: "Los programas que usan la API lo envían en la cabecera Authorization: Bearer.",
    token_once: "Este es tu nuevo token. Cópialo ahora: solo se muestra esta vez.",
    token_none: "No tienes ningún token.",
    token_until: |date| format!("Tienes un token. Es válido hasta el {date}."),
    token_expired: "Tu token ha caducado.",
    token_create: "Crear un token",
    token_renew: "Cambiarlo por uno nuevo",
    token_revoke: "Revocarlo",
    make_admin: "Dar a este usuario la función de administración",
    make_user: "Quitarle la función de administración",
    admin_may: "Quien administra puede editar y borrar todos los quizzes y todos los usuarios.",
    last_admin: "Es la única cuenta de administración. Dale antes esa función a otra.",
    delete_title: |name| format!("¿Borrar a {name}?"),
    delete_text: "La cuenta, su foto, sus favoritos y su mejor puntuación se pierden para siempre. Sus quizzes se quedan, sin el nombre de quien los escribió.",
    delete_own: "Es tu propia cuenta: se cerrará tu sesión.",
    register: "Registrar una cuenta local",
    create: "Crear el usuario",
    edit_title: |name| format!("Editar {name}"),
    photo: "Foto",
    photo_hint: "PNG, JPEG, GIF o WebP.",
    photo_again: "Elígela otra vez: el navegador no la guarda.",
    photo_keep: "Mantener la foto",
    photo_keep_hint: "Desmárcalo para quitar esta. Si eliges otra más abajo, la sustituye.",
    save: "Guardar",
    username_hint: |max| format!("Como máximo {max} caracteres. No se puede cambiar después."),
    username_fixed: "El nombre de usuario no se puede cambiar.",
    password_hint: |min| {
        format!("Al menos {min} caracteres, con una cifra y una mayúscula, y difícil de adivinar.")
    },
    password_repeat: "Repite la contraseña",
    password_current: "Contraseña actual",
    password_current_hint: "Solo hace falta para cambiar la contraseña.",
    password_new: "Contraseña nueva",
    password_blank: "Déjala en blanco para mantener la contraseña. Una nueva cierra las demás sesiones.",
    password_again: "Escribe otra vez las contraseñas: no se devuelven.",
    username_empty: "El nombre de usuario no puede estar vacío.",
    username_too_long: |max| {
        format!("El nombre de usuario puede tener como máximo {max} caracteres.")
    },
    username_invisible: "El nombre de usuario no puede tener caracteres que no se ven.",
    username_taken: |name| format!("El usuario «{name}» ya existe."),
    password_empty: "La contraseña no puede estar vacía.",
    password_too_short: |min| format!("La contraseña debe tener al menos {min} caracteres."),
    password_too_long: |max| format!("La contraseña puede tener como máximo {max} bytes."),
    password_no_digit: "La contraseña debe tener una cifra.",
    password_no_upper_case: "La contraseña debe tener una mayúscula.",
    password_common: "Esta contraseña es fácil de adivinar. Elige otra, por ejemplo tres palabras que no tengan que ver entre sí.",
    password_not_repeated: "Las dos contraseñas no son iguales.",
    password_wrong: "Esta no es tu contraseña actual.",
};

/// The day of a moment (UTC).
fn date(moment: &OffsetDateTime) -> String {
    let months = [
        "enero",
        "febrero",
        "marzo",
        "abril",
        "mayo",
        "junio",
        "julio",
        "agosto",
        "septiembre",
        "octubre",
        "noviembre",
        "diciembre",
    ];
    let month = months[usize::from(u8::from(moment.month())) - 1];
    format!("{} de {} de {}", moment.day(), month, moment.year())
}
