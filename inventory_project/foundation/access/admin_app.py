"""Django's admin app with our site. A module of its own, because Django looks for only one app in each."""

from django.contrib.admin.apps import AdminConfig


class StaffAdminConfig(AdminConfig):
    """The admin, whose site has our log-in."""

    default_site = "inventory_project.foundation.access.site.StaffSite"
