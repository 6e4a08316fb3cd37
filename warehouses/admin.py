"""The admin pages of warehouses, allocation policies and postal areas.

A warehouse is not closed here, because `stock.blocking` closes it under locks. Postal areas are loaded from a file.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, ClassVar, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join

from inventory_project.foundation import failures
from inventory_project.foundation.admin import LargeTableAdmin, ReadOnly, ReportsRefusals, flag
from inventory_project.foundation.errors import Conflict
from inventory_project.foundation.failures import Failure
from inventory_project.foundation.form_fields import IdentifierField, NameField, PlainDecimalField, WholeNumberField
from warehouses import catalogue, postal_areas
from warehouses.allocation import geography, policies, words
from warehouses.allocation.policies import BUILT_IN, PREFERENCES, Policy, Preference, Split
from warehouses.models import AllocationPolicy, PostalArea, Warehouse

# --- warehouses ----------------------------------------------------------------------------------------------------


class RegionsField(forms.Field):
    """A list of regions, edited as one line with commas between the names."""

    widget = forms.TextInput

    def prepare_value(self, value: Any) -> Any:
        """The text for the input field: a stored list is joined by commas, a posted text is returned unchanged."""
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        """The names between the commas, by the same rule as in a file of warehouses; empty ones are dropped."""
        rule = catalogue.RULES["served_regions"]
        names = [name for name in [part.strip() for part in (value or "").split(",")] if name]
        try:
            return cast("list[str]", rule.read(names))
        except ValueError:
            raise ValidationError(f"Give {rule.wanted}.") from None


class WarehouseForm(ModelForm[Warehouse]):
    """The fields of a warehouse that staff edit."""

    served_regions = RegionsField(
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="Regions this warehouse ships to, separated by commas (southeast, south). Leave empty for all.",
    )

    class Meta:
        model = Warehouse
        fields = ("id", "name", "region", "priority", "postal_code", "latitude", "longitude", "served_regions")
        field_classes: ClassVar = {
            "name": NameField,
            "region": IdentifierField,
            "priority": WholeNumberField,
            "latitude": PlainDecimalField,
            "longitude": PlainDecimalField,
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = self.initial.get("served_regions")
        if policies.regions_of(stored) != stored:  # an invalid value counts as no list; show it so, and a save fixes it
            self.initial["served_regions"] = None


@admin.register(Warehouse)
class WarehouseAdmin(ReportsRefusals[Warehouse]):
    """List, create and correct warehouses."""

    form = WarehouseForm
    list_display = ("id", "name", "region", "priority", "postal_code", "closed")
    list_filter = ("is_active", "region")
    search_fields = ("id", "name", "region", "postal_code")
    ordering = ("id",)
    readonly_fields = ("place", "serves", "closed", "created_at", "updated_at")
    closed = flag("is_active", "closed", when=False)

    def get_fields(self, request: HttpRequest, obj: Warehouse | None = None) -> tuple[Any, ...]:
        """The form's fields; for an existing warehouse also the read-only facts."""
        form = ("id", "name", "region", "priority", "postal_code", ("latitude", "longitude"))
        if obj is None:
            return (*form, "served_regions")
        regions = "served_regions" if self.has_change_permission(request, obj) else "serves"
        return (*form, "place", regions, "closed", "created_at", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Warehouse | None = None) -> tuple[str, ...]:
        """The id is fixed once the warehouse exists, because stock, reservations and the ledger refer to it."""
        return (*self.readonly_fields, "id") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Warehouse | None = None) -> bool:
        """Never: the ledger refers to the warehouse. One that is not used any more is closed instead."""
        return False

    def save_model(self, request: HttpRequest, obj: Warehouse, form: ModelForm[Warehouse], change: bool) -> None:
        """Write only what the form changed, so that a save never reopens a warehouse that was closed meanwhile."""
        if change:
            obj.save(update_fields=[*form.changed_data, "updated_at"])
        else:
            obj.save(force_insert=True)
        if "served_regions" in form.changed_data:
            self._tell_of_unknown_regions(request, obj)

    def _tell_of_unknown_regions(self, request: HttpRequest, warehouse: Warehouse) -> None:
        """Warn about unknown served regions. They are saved all the same, because they may be new."""
        unknown = sorted(set(warehouse.served_regions).difference(postal_areas.known_regions()))
        if unknown:
            warning = f"Unknown served regions: {', '.join(unknown)}. No postal area belongs to them."
            self.message_user(request, warning, messages.WARNING)

    @admin.display(description="served regions")
    def serves(self, warehouse: Warehouse) -> str:
        """The served regions as text, for staff without the permission to change them."""
        return ", ".join(policies.regions_of(warehouse.served_regions)) or "all"

    @admin.display(description="place")
    def place(self, warehouse: Warehouse) -> str:
        """How the warehouse's position is known, in a sentence or two."""
        if warehouse.latitude is not None:
            return "Known by its coordinates."
        last = "By distance it comes last."
        if not warehouse.postal_code:
            return f"Not known, because it has neither coordinates nor a postal code. {last}"
        area, precision = postal_areas.locate(warehouse.postal_code)
        if area is None:
            return f"Not known, because no postal area has the beginning of its postal code. {last}"
        at = f"{area.country} {area.prefix}, at {area.point.latitude}, {area.point.longitude}"
        return f"Known by its postal code: {area.name} ({at}). {words.PRECISIONS[precision]}"


# --- policies ------------------------------------------------------------------------------------------------------

EXPLAINED = format_html(
    "{}Each is asked about the warehouses that the ones before it left equal; the warehouse id comes last.",
    format_html_join(
        "", "<b>{}</b>: {}<br>", [(words.WORDS[name].capitalize(), words.MEANINGS[name]) for name in words.WORDS]
    ),
)
PLACES = ("first", "second", "third", "fourth")
COLUMNS = ("region", "preferences", "tolerance_km", "split", "most_parcels")
NO_REGIONS = "Load postal areas first (manage.py load_postal_areas FILE): without them no delivery has a region."


def readable(preferences: Any) -> list[Preference]:
    """The valid preferences in what the row holds, each once."""
    named = preferences if isinstance(preferences, list) else []
    return list(dict.fromkeys(name for name in named if name in PREFERENCES))


def problems_of(row: AllocationPolicy) -> list[str]:
    """What is wrong with the stored policy, one sentence for each problem; empty if it is valid."""
    return list(policies.problems(row.as_policy()).values())


def seen(row: AllocationPolicy) -> str:
    """The mark by which the form recognises later whether the row has changed."""
    return row.updated_at.isoformat()


def _choice_of_preference(place: str) -> forms.ChoiceField:
    return forms.ChoiceField(label=place, required=False, choices=[("", "-"), *words.WORDS.items()])


class PolicyForm(ModelForm[AllocationPolicy]):
    """The fields of a region's allocation policy that staff edit."""

    region = forms.ChoiceField(
        required=False,
        help_text="Of the delivery, by its postal code.",
        error_messages={"unique": "There is a policy for this region already."},
    )
    first = _choice_of_preference("1st")
    second = _choice_of_preference("2nd")
    third = _choice_of_preference("3rd")
    fourth = _choice_of_preference("4th")
    seen_at = forms.CharField(required=False, widget=forms.HiddenInput)  # `updated_at` when the form was opened

    class Meta:
        model = AllocationPolicy
        fields = ("region", "tolerance_km", "split", "most_parcels")
        field_classes: ClassVar = {"tolerance_km": PlainDecimalField, "most_parcels": WholeNumberField}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = postal_areas.known_regions()
        region = cast(forms.ChoiceField, self.fields["region"])
        # The policy's own region as well: the last postal area in it may be gone.
        region.choices = [
            ("", words.EVERY_OTHER),
            *[(name, name) for name in sorted({*known, self.instance.region} - {""})],
        ]
        if not known:
            region.help_text = NO_REGIONS
        preferences = BUILT_IN.preferences
        if self.instance.pk:
            preferences = tuple(readable(self.instance.preferences))
            self.fields["seen_at"].initial = seen(self.instance)
        for place, name in zip(PLACES, preferences, strict=False):
            self.fields[place].initial = name

    def clean(self) -> dict[str, Any]:
        """Check the fields against each other and set the row's preferences; each contradiction becomes an error."""
        data = super().clean() or self.cleaned_data
        chosen = [data.get(place, "") for place in PLACES]
        preferences = self.instance.preferences = [name for name in chosen if name]
        are_read = not set(PLACES) & set(self.errors)
        if are_read and chosen[: len(preferences)] != preferences:
            self.add_error(PLACES[chosen.index("")], "An empty choice may stand at the end only.")
        for field, sentence in policies.problems(self._policy(data, preferences)).items():
            place = PLACES[0] if field == "preferences" else field
            if place not in self.errors and (are_read or field != "preferences"):
                self.add_error(place, sentence)
        return data

    def _policy(self, data: dict[str, Any], preferences: Sequence[str]) -> Policy:
        """The policy in the form. An invalid field has its own error already and gets the built-in value here."""
        return Policy(
            region=data.get("region", ""),
            preferences=cast("tuple[Preference, ...]", tuple(preferences)),
            tolerance_km=data.get("tolerance_km", BUILT_IN.tolerance_km),
            split=cast("Split", data.get("split", BUILT_IN.split)),
            most_parcels=data.get("most_parcels"),
        )


@admin.register(AllocationPolicy)
class AllocationPolicyAdmin(ReportsRefusals[AllocationPolicy]):
    """List, create, change and delete policies. Orders that come after a save follow it."""

    form = PolicyForm
    list_display = ("for_region", "order", "tolerance", "split", "most_parcels", "updated_at")
    ordering = ("region",)
    readonly_fields = ("for_region", "order", "broken", "tolerance", "updated_at")

    def get_fieldsets(self, request: HttpRequest, obj: AllocationPolicy | None = None) -> Any:
        """The form; for staff who may only view it, the same facts as text."""
        if obj and not self.has_change_permission(request, obj):
            fields = ("for_region", "order", "tolerance", "split", "most_parcels", "updated_at")
            return ((None, {"fields": fields, "description": EXPLAINED}),)
        is_broken = obj is not None and bool(problems_of(obj))
        return (
            (None, {"fields": ("region", *(("seen_at",) if obj else ()), *(("broken",) if is_broken else ()))}),
            ("Preferences in their order", {"fields": (*PLACES, "tolerance_km"), "description": EXPLAINED}),
            ("Splitting an order", {"fields": ("split", "most_parcels")}),
            *(((None, {"fields": ("updated_at",)}),) if obj else ()),
        )

    def save_model(
        self, request: HttpRequest, obj: AllocationPolicy, form: ModelForm[AllocationPolicy], change: bool
    ) -> None:
        """Write the columns that differ from the stored row; no write if none does.

        Raises Conflict if somebody else has changed or deleted the policy since the form was opened, or has just
        created one for the region.
        """
        stored = _locked(obj, seen_at=form.cleaned_data["seen_at"]) if change else None
        differing = [name for name in COLUMNS if stored and getattr(obj, name) != getattr(stored, name)]
        try:
            if stored is None:
                obj.save(force_insert=True)
            elif differing:
                obj.save(update_fields=[*differing, "updated_at"])
        except IntegrityError as error:
            if failures.kind_of(error) != Failure.RACED:
                raise
            raise Conflict("Somebody else has just created a policy for this region.") from error

    def response_action(  # type: ignore[override]  # the stubs are a version ahead
        self, request: HttpRequest, queryset: QuerySet[AllocationPolicy]
    ) -> HttpResponse | None:
        """Run the action in one transaction. Django by itself would log a deletion that fails afterwards."""
        return self.report_refusals(request, transaction.atomic(partial(super().response_action, request, queryset)))

    @admin.display(description="region", ordering="region")
    def for_region(self, policy: AllocationPolicy) -> str:
        """The region, or the words for every other region."""
        return str(policy)

    @admin.display(description="preferences")
    def order(self, policy: AllocationPolicy) -> str:
        """The preferences in words, with a remark if the policy is invalid."""
        order = words.describe_preferences(policy.preferences)
        return f"{order} (cannot be followed)" if problems_of(policy) else order

    @admin.display(description="as it stands")
    def broken(self, policy: AllocationPolicy) -> str:
        """An invalid policy that was not written by this form, and why the built-in policy is used instead."""
        return f"{self.order(policy)}. {' '.join(problems_of(policy))} The built-in policy is used until this is fixed."

    @admin.display(description="tolerance", ordering="tolerance_km")
    def tolerance(self, policy: AllocationPolicy) -> str:
        """The tolerance with its unit."""
        return f"{policy.tolerance_km:,g} km"


def _locked(policy: AllocationPolicy, *, seen_at: str) -> AllocationPolicy:
    """The stored row, locked until the transaction ends. Raises Conflict if it changed since the form was opened."""
    stored = AllocationPolicy.objects.select_for_update(no_key=True).filter(pk=policy.pk).first()
    if stored is None:
        raise Conflict("This policy was deleted meanwhile.")
    if seen(stored) != seen_at:
        raise Conflict("This policy was changed meanwhile, and is shown as it is now.")
    return stored


# --- postal areas --------------------------------------------------------------------------------------------------


@admin.register(PostalArea)
class PostalAreaAdmin(ReadOnly, LargeTableAdmin[PostalArea]):
    """List and view postal areas; `manage.py load_postal_areas` writes them."""

    list_display = ("country", "prefix", "name", "region", "latitude", "longitude", "wide")
    list_display_links = ("prefix",)
    list_filter = ("country", "region")
    search_fields = ("prefix", "name")
    search_help_text = (
        "A postal code, for the areas it may lie in; its beginning, for those below; or a part of a name, accents too."
    )
    ordering = ("country", "prefix")
    fields = ("country", "prefix", "name", "region", ("latitude", "longitude"), "wide")
    readonly_fields = ("wide",)
    wide = flag("is_region", "wide region")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Search by code or its beginning if the term has a digit, and by name if it has none."""
        term = search_term.strip()
        if not term:
            return queryset, False
        if not any(map(str.isdigit, term)):
            return queryset.filter(name__icontains=term), False
        is_british = Q(country__in=geography.BRITISH)
        found = (is_british & _matches("GB", term)) | (~is_british & _matches("", term))
        return queryset.filter(found), False


def _matches(country: str, term: str) -> Q:
    """The areas that a code may lie in, and those whose prefixes begin with it."""
    prefixes = geography.prefixes(country, term)
    return Q(prefix__in=prefixes) | Q(prefix__startswith=geography.prefix_of(country, term))
