"""The WSGI application that the web server loads."""

import os

from django.core.wsgi import get_wsgi_application

from inventory_project.foundation.http.requests import UTF8Request

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "inventory_project.settings")

application = get_wsgi_application()
application.request_class = UTF8Request
