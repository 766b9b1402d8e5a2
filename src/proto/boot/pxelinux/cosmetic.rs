//! Directives that need not be followed.

/// Returns whether a directive changes how a menu looks, sounds or is operated, and nothing else.
pub(super) fn is_cosmetic(keyword: &str) -> bool {
    is_function_key(keyword) || COSMETIC.contains(&keyword)
}

/// The same of one behind MENU.
pub(super) fn is_cosmetic_menu(keyword: &str) -> bool {
    is_function_key(keyword) || COSMETIC_MENU.contains(&keyword)
}

/// F0 to F12 name files that the keys show.
fn is_function_key(keyword: &str) -> bool {
    let number = keyword
        .strip_prefix('f')
        .and_then(|digits| digits.parse().ok());
    number.is_some_and(|number: u8| number <= 12)
}

const COSMETIC: &[&str] = &[
    "autoboot",
    "cmdlinerow",
    "console",
    "display",
    "endrow",
    "font",
    "helpmsgendrow",
    "helpmsgrow",
    "kbdmap",
    "noescape",
    "nohalt",
    "path",
    "sendcookies",
    "serial",
];

const COSMETIC_MENU: &[&str] = &[
    "allowedit",
    "allowsubmenu",
    "autoboot",
    "autosort",
    "background",
    "clear",
    "cmdlinerow",
    "color",
    "colour",
    "endrow",
    "expand",
    "helpmsgendrow",
    "helpmsgrow",
    "hiddenkey",
    "hiddenrow",
    "hshift",
    "immediate",
    "indent",
    "margin",
    "msgcolor",
    "msgcolour",
    "noclear",
    "noimmediate",
    "nosave",
    "notabmsg",
    "passprompt",
    "passwordmargin",
    "passwordrow",
    "resolution",
    "rows",
    "save",
    "scrollbar",
    "shiftkey",
    "tabmsg",
    "tabmsgrow",
    "timeoutrow",
    "vshift",
    "width",
];
