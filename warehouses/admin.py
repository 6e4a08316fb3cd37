"""The warehouses in the admin. Closing one is not done here: it takes locks, and belongs to `stock.blocking`."""

from django.contrib import admin
from django.forms import ModelForm
from django.http import HttpRequest

from inventory_project.admin import flag
from warehouses.models import Warehouse


@admin.register(Warehouse)
class WarehouseAdmin(admin.ModelAdmin):  # type: ignore[type-arg]  # no subscript at run time
    """List, make, correct."""

    list_display = ("id", "name", "region", "priority", "postal_code", "closed")
    list_filter = ("is_active", "region")
    search_fields = ("id", "name", "region", "postal_code")
    ordering = ("id",)
    fields = (
        *("id", "name", "region", "priority", "postal_code", ("latitude", "longitude")),
        *("closed", "created_at", "updated_at"),
    )
    readonly_fields = ("closed", "created_at", "updated_at")
    closed = flag("is_active", "closed", when=False)

    def get_readonly_fields(self, request: HttpRequest, obj: Warehouse | None = None) -> tuple[str, ...]:
        """The id too once it is given: stock, reservations and the ledger name the warehouse by it."""
        return (*self.readonly_fields, "id") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Warehouse | None = None) -> bool:
        """The books name it; one that is given up is closed."""
        return False

    def save_model(self, request: HttpRequest, obj: Warehouse, form: "ModelForm[Warehouse]", change: bool) -> None:
        """Write what the form changed and nothing else, so that a save never reopens a warehouse closed meanwhile."""
        if change:
            obj.save(update_fields=[*form.changed_data, "updated_at"])
        else:
            obj.save(force_insert=True)
