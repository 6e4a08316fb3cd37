"""What all apps build on: tokens, HTTP, messaging, transactions, errors. It imports no app."""
