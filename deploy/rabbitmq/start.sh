#!/bin/sh
# Writes the vhost, the users and their rights, with the passwords of the environment, and runs the command that follows.
# RabbitMQ loads the file at each start (inventory.conf), so a new password only has to be set in .env. Nobody is an
# administrator over the network: `docker compose exec rabbitmq rabbitmqctl` can do everything.
#
#   inventory  the service; docs/operating/operations.md explains its rights
#   shop       publishes order.created and order.cancelled, and listens to inventory.events by queues named shop.*
#   payments   publishes payment.confirmed and payment.failed
set -eu
umask 077

json() { # the text as a JSON string
    printf '"%s"' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"
}

cat > "${DEFINITIONS:-/tmp/definitions.json}" <<END
{
  "vhosts": [{"name": "inventory"}],
  "users": [
    {"name": "inventory", "password": $(json "${RABBITMQ_PASSWORD:?}"), "tags": "management"},
    {"name": "shop", "password": $(json "${RABBITMQ_SHOP_PASSWORD:?}"), "tags": ""},
    {"name": "payments", "password": $(json "${RABBITMQ_PAYMENTS_PASSWORD:?}"), "tags": ""}
  ],
  "permissions": [
    {
      "vhost": "inventory",
      "user": "inventory",
      "configure": "^(inventory[.-].*|celeryev.*|(.*[.])?celery[.]pidbox|order[.]events|payment[.]events)\$",
      "write": "^(inventory[.-].*|celeryev.*|(.*[.])?celery[.]pidbox|amq[.]default)\$",
      "read": "^(inventory[.-].*|celeryev.*|(.*[.])?celery[.]pidbox|order[.]events|payment[.]events)\$"
    },
    {
      "vhost": "inventory",
      "user": "shop",
      "configure": "^shop[.].*\$",
      "write": "^(shop[.].*|order[.]events)\$",
      "read": "^(shop[.].*|inventory[.]events)\$"
    },
    {"vhost": "inventory", "user": "payments", "configure": "^\$", "write": "^payment[.]events\$", "read": "^\$"}
  ]
}
END
unset RABBITMQ_PASSWORD RABBITMQ_SHOP_PASSWORD RABBITMQ_PAYMENTS_PASSWORD
exec "$@"
