"""The admin's site: Django's, with our log-in and a page for the second factor."""

from typing import Any, cast

from django.conf import settings
from django.contrib import admin
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect

from inventory_project.foundation.access import browsers, second_factor, second_factor_page
from inventory_project.foundation.access.log_in_form import LogInForm


class StaffSite(admin.AdminSite):
    """The admin. The app in `admin_app` makes it `admin.site`."""

    login_form = LogInForm
    login_template = "admin/access/log_in.html"

    def has_permission(self, request: HttpRequest) -> bool:
        """Whether the user is staff and, where a second factor is required, has given a code. Anyone may log out."""
        if not super().has_permission(request):
            return False
        return not second_factor.is_missing(request) or request.path == reverse("admin:logout")

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show the form, or log in. A browser that succeeds is remembered."""
        if request.method == "GET" and super().has_permission(request) and second_factor.is_missing(request):
            if not second_factor.is_set_up(cast(User, request.user)):
                return HttpResponseRedirect(reverse("admin:second_factor"))
            logout(request)  # this session began without a code, before one was required
        response = super().login(request, extra_context)
        if request.method == "POST" and isinstance(response, HttpResponseRedirect):
            user = cast(User, request.user)
            second_factor.remember(request, user)
            browsers.remember(request, response, user.get_username())
        return response

    @method_decorator(never_cache)
    @method_decorator(csrf_protect)
    def second_factor_view(self, request: HttpRequest) -> HttpResponse:
        """The page for the second factor. It is open also to staff who must set one up first."""
        if settings.STAFF_SECOND_FACTOR == second_factor.OFF:
            raise Http404
        if not super().has_permission(request):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        return second_factor_page.answer(request, {**self.each_context(request), "has_permission": True})

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """What every page's template knows."""
        has_page = settings.STAFF_SECOND_FACTOR != second_factor.OFF
        return {**super().each_context(request), "has_second_factor_page": has_page}

    def get_urls(self) -> list[URLPattern | URLResolver]:
        """The admin's paths, with that of the second factor."""
        return [path("second-factor/", self.second_factor_view, name="second_factor"), *super().get_urls()]
