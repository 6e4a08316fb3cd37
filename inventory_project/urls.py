"""All paths of the service."""

from collections.abc import Callable

from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest, HttpResponseBase
from django.templatetags.static import static
from django.urls import include, path, re_path
from django.views.generic import RedirectView
from drf_spectacular.views import SpectacularSwaggerView

from inventory_project import health, metrics
from inventory_project.foundation.http import paths as _paths  # noqa: F401  # registers <id:...>
from inventory_project.foundation.http import problems
from inventory_project.foundation.http.schema_view import SchemaView
from reservations.analysis.api import InspectionViewSet
from reservations.api.reservations import ReservationViewSet
from stock.api.availability import AvailabilityViewSet
from stock.api.counters import CountersViewSet
from stock.api.documents import DocumentViewSet
from stock.api.ledger import MovementViewSet, StockLevelViewSet
from stock.api.products import ProductViewSet
from warehouses.api import WarehouseViewSet


def _moved_to(url: str) -> Callable[..., HttpResponseBase]:
    """A view that redirects to `url`, with the query string of the request."""
    return RedirectView.as_view(url=url, permanent=True, query_string=True)


def _if_documented(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The view, or 404 where INVENTORY_API_DOCS is off."""

    def shown(request: HttpRequest, **path: object) -> HttpResponseBase:
        return view(request, **path) if settings.API_DOCS else problems.not_found(request)

    return problems.reading_only(shown)


inventory = [
    path("products", ProductViewSet.as_view({"get": "list"})),
    path("products/<id:product_id>", ProductViewSet.as_view({"get": "retrieve", "put": "save"})),
    path("products/<id:product_id>/availability", AvailabilityViewSet.as_view({"get": "retrieve"})),
    path("availability", AvailabilityViewSet.as_view({"post": "bulk"})),
    path("reservations", ReservationViewSet.as_view({"get": "list", "post": "create"})),
    path("reservations/bulk", ReservationViewSet.as_view({"post": "create_bulk"})),
    path("reservations/<id:reservation_id>", ReservationViewSet.as_view({"get": "retrieve"}), name="reservation"),
    path("reservations/<id:reservation_id>/confirm", ReservationViewSet.as_view({"post": "confirm"})),
    path("reservations/<id:reservation_id>/cancel", ReservationViewSet.as_view({"post": "cancel"})),
    path("reservations/<id:reservation_id>/extend", ReservationViewSet.as_view({"post": "extend"})),
    path("reservations/<id:reservation_id>/return", ReservationViewSet.as_view({"post": "take_back"})),
    path("reservations/<id:reservation_id>/allocation", ReservationViewSet.as_view({"get": "allocation"})),
    path("warehouses", WarehouseViewSet.as_view({"get": "list"})),
    path("warehouses/<str:warehouse_id>", WarehouseViewSet.as_view({"get": "retrieve"})),
    path("stock-levels", StockLevelViewSet.as_view({"get": "list"})),
    path("movements", MovementViewSet.as_view({"get": "list"})),
    path("receipts", DocumentViewSet.as_view({"post": "receive"})),
    path("adjustments", DocumentViewSet.as_view({"post": "adjust"})),
]

# These require tokens, not the admin's session. They come before the Django admin's own pages.
operations = [
    path("inventory/sync", CountersViewSet.as_view({"post": "sync"})),
    path("inventory/products/<id:product_id>/reset-counter", CountersViewSet.as_view({"post": "reset"})),
    path("inventory/products/<id:product_id>/debug", InspectionViewSet.as_view({"get": "retrieve"})),
    path("reservations/<id:reservation_id>/expire", ReservationViewSet.as_view({"post": "expire"})),
    path("products/<id:product_id>/block-sales", ProductViewSet.as_view({"post": "block_sales"})),
    path("products/<id:product_id>/unblock-sales", ProductViewSet.as_view({"post": "unblock_sales"})),
]

urlpatterns = [
    path("", _if_documented(RedirectView.as_view(pattern_name="docs"))),
    path("health", health.health),
    path("health/live", health.live),
    path("health/ready", health.ready),
    path("metrics", metrics.metrics),
    path("api/schema", _if_documented(SchemaView.as_view()), name="schema"),
    path("api/docs", _if_documented(SpectacularSwaggerView.as_view(template_name="api_docs.html")), name="docs"),
    path("api/inventory/", include(inventory)),
    path("admin/", include(operations)),
    # A malformed path of these is 404, and does not redirect to the admin's login.
    re_path(r"^admin/(?:(?:inventory|products)/.*|reservations/[^/]+/expire/?)$", problems.not_found),
    path("admin/", admin.site.urls),
]

# The open pages, whose paths people type, also accept a slash at the end.
OPEN_PAGES = ("health", "health/live", "health/ready", "metrics", "api/schema", "api/docs")
urlpatterns += [re_path(rf"^{page}/$", problems.reading_only(_moved_to(f"/{page}"))) for page in OPEN_PAGES]
# Browsers request it if a page names no icon, for instance a page of JSON.
urlpatterns.append(
    re_path(r"^favicon\.ico$", problems.reading_only(_moved_to(static("inventory_project/favicon.svg"))))
)

handler400 = "inventory_project.foundation.http.problems.bad_request"
handler403 = "inventory_project.foundation.http.problems.permission_denied"
handler404 = "inventory_project.foundation.http.problems.not_found"
handler500 = "inventory_project.foundation.http.problems.server_error"
