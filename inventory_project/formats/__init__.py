"""How the admin writes values down, by language; FORMAT_MODULE_PATH points here."""
