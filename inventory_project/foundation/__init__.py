"""What every app stands on: tokens, HTTP, messages, transactions, errors. It knows no app."""
