"""The admin's formats for values, by language. FORMAT_MODULE_PATH refers to this package."""
