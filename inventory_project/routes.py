"""The handler for each message name. It is for the consumer what urls.py is for HTTP."""

from reservations import handlers

ROUTES = {
    "order.created": handlers.ORDER_CREATED,
    "order.cancelled": handlers.ORDER_CANCELLED,
    "payment.confirmed": handlers.PAYMENT_CONFIRMED,
    "payment.failed": handlers.PAYMENT_FAILED,
}
