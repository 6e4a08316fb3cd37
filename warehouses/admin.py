"""The network in the admin: warehouses, the policies by which one is chosen, and the table of postal areas.

Closing a warehouse is not done here: it takes locks, and belongs to `stock.blocking`. Postal areas come from a file.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html, format_html_join

from inventory_project.foundation import database
from inventory_project.foundation.admin import LargeTableAdmin, ReadOnly, ReportsRefusals, flag
from inventory_project.foundation.errors import Conflict
from warehouses import catalogue, postal_areas
from warehouses.allocation import geography, policies, words
from warehouses.allocation.policies import BUILT_IN, PREFERENCES, Policy, Preference, Split
from warehouses.models import AllocationPolicy, PostalArea, Warehouse

# --- warehouses ----------------------------------------------------------------------------------------------------


class RegionsField(forms.Field):
    """A list of regions, which a person writes with commas between them."""

    widget = forms.TextInput

    def prepare_value(self, value: Any) -> Any:
        """The text to be edited; what was posted comes back as it was."""
        return ", ".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> list[str]:
        """The names, without what is empty."""
        return [name for name in [part.strip() for part in (value or "").split(",")] if name]

    def validate(self, value: list[str]) -> None:
        """As in a file of warehouses. Raises ValidationError."""
        rule = catalogue.RULES["served_regions"]
        if not rule.accepts(value):
            raise ValidationError(f"Give {rule.wanted}.")


class WarehouseForm(ModelForm[Warehouse]):
    """What a person decides about a warehouse."""

    served_regions = RegionsField(
        required=False,
        widget=forms.TextInput(attrs={"class": "vTextField"}),
        help_text="The regions that goods may go to from here, such as: southeast, south. None named: to all.",
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        stored = self.initial.get("served_regions")
        if policies.regions_of(stored) != stored:  # shown as it counts; and so that a save mends it, no list at all
            self.initial["served_regions"] = None


@admin.register(Warehouse)
class WarehouseAdmin(ReportsRefusals[Warehouse]):
    """List, make, correct."""

    form = WarehouseForm
    list_display = ("id", "name", "region", "priority", "postal_code", "closed")
    list_filter = ("is_active", "region")
    search_fields = ("id", "name", "region", "postal_code")
    ordering = ("id",)
    readonly_fields = ("place", "serves", "closed", "created_at", "updated_at")
    closed = flag("is_active", "closed", when=False)

    def get_fields(self, request: HttpRequest, obj: Warehouse | None = None) -> tuple[Any, ...]:
        """The form for a new warehouse, and the facts too of one that is there."""
        form = ("id", "name", "region", "priority", "postal_code", ("latitude", "longitude"))
        if obj is None:
            return (*form, "served_regions")
        regions = "served_regions" if self.has_change_permission(request, obj) else "serves"
        return (*form, "place", regions, "closed", "created_at", "updated_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Warehouse | None = None) -> tuple[str, ...]:
        """The id too once it is given: stock, reservations and the ledger name the warehouse by it."""
        return (*self.readonly_fields, "id") if obj else self.readonly_fields

    def has_delete_permission(self, request: HttpRequest, obj: Warehouse | None = None) -> bool:
        """The books name it; one that is given up is closed."""
        return False

    def save_model(self, request: HttpRequest, obj: Warehouse, form: ModelForm[Warehouse], change: bool) -> None:
        """Write what the form changed and nothing else, so that a save never reopens a warehouse closed meanwhile."""
        if change:
            obj.save(update_fields=[*form.changed_data, "updated_at"])
        else:
            obj.save(force_insert=True)
        if "served_regions" in form.changed_data:
            self._tell_of_unknown_regions(request, obj)

    def _tell_of_unknown_regions(self, request: HttpRequest, warehouse: Warehouse) -> None:
        """They are taken, for they may be new, and told, for who serves only a slip of the pen serves nobody."""
        unknown = sorted(set(warehouse.served_regions).difference(postal_areas.known_regions()))
        if unknown:
            told = f"No postal area names these of the served regions: {', '.join(unknown)}."
            self.message_user(request, told, messages.WARNING)

    @admin.display(description="served regions")
    def serves(self, warehouse: Warehouse) -> str:
        """For who may only look."""
        return ", ".join(policies.regions_of(warehouse.served_regions)) or "all"

    @admin.display(description="place")
    def place(self, warehouse: Warehouse) -> str:
        """How it is known where the warehouse lies."""
        if warehouse.latitude is not None:
            return "Known by its coordinates."
        last = "By distance it comes last."
        if not warehouse.postal_code:
            return f"Not known, for it has neither coordinates nor a postal code. {last}"
        area, precision = postal_areas.locate(warehouse.postal_code)
        if area is None:
            return f"Not known, for no postal area has the beginning of its postal code. {last}"
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
    """Of what a row may hold the preferences that a form can show, each once."""
    named = preferences if isinstance(preferences, list) else []
    return list(dict.fromkeys(name for name in named if name in PREFERENCES))


def problems_of(row: AllocationPolicy) -> list[str]:
    """Why the stored policy cannot be followed, in sentences; none when it can."""
    return list(policies.problems(row.as_policy()).values())


def seen(row: AllocationPolicy) -> str:
    """What the form keeps of the row, to know later whether it is still the same."""
    return row.updated_at.isoformat()


def _choice_of_preference(place: str) -> forms.ChoiceField:
    return forms.ChoiceField(label=place, required=False, choices=[("", "-"), *words.WORDS.items()])


class PolicyForm(ModelForm[AllocationPolicy]):
    """What a person decides about the choice of warehouses for a region."""

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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = postal_areas.known_regions()
        region = cast(forms.ChoiceField, self.fields["region"])
        # The own one too: the last area that named it may be gone.
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
        """The fields, and the list of preferences on the row; an error for each thing that makes no sense together."""
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
        """What the form says; for a field that could not be read, which has its error, what is built in."""
        return Policy(
            region=data.get("region", ""),
            preferences=cast("tuple[Preference, ...]", tuple(preferences)),
            tolerance_km=data.get("tolerance_km", BUILT_IN.tolerance_km),
            split=cast("Split", data.get("split", BUILT_IN.split)),
            most_parcels=data.get("most_parcels"),
        )


@admin.register(AllocationPolicy)
class AllocationPolicyAdmin(ReportsRefusals[AllocationPolicy]):
    """List, make, change, delete. What is decided after a save goes by it."""

    form = PolicyForm
    list_display = ("for_region", "order", "tolerance", "split", "most_parcels", "updated_at")
    ordering = ("region",)
    readonly_fields = ("for_region", "order", "broken", "tolerance", "updated_at")

    def get_fieldsets(self, request: HttpRequest, obj: AllocationPolicy | None = None) -> Any:
        """The form, or for who may only look what it would say."""
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
        """Write what differs from what is stored, and nothing where nothing does.

        Raises Conflict when somebody else has changed or deleted the policy since the form was opened, or has just made
        one for the region.
        """
        stored = _locked(obj, seen_at=form.cleaned_data["seen_at"]) if change else None
        differing = [name for name in COLUMNS if stored and getattr(obj, name) != getattr(stored, name)]
        try:
            if stored is None:
                obj.save(force_insert=True)
            elif differing:
                obj.save(update_fields=[*differing, "updated_at"])
        except IntegrityError as error:
            if not database.is_constraint_violation(error):
                raise
            raise Conflict("Somebody else has just made a policy for this region.") from error

    def response_action(  # type: ignore[override]  # the stubs are a version ahead
        self, request: HttpRequest, queryset: QuerySet[AllocationPolicy]
    ) -> HttpResponse | None:
        """Do the action wholly or not at all; Django by itself writes into its log what it then may fail to delete."""
        return self.report_refusals(request, transaction.atomic(partial(super().response_action, request, queryset)))

    @admin.display(description="region", ordering="region")
    def for_region(self, policy: AllocationPolicy) -> str:
        """The region, or what stands for the others."""
        return str(policy)

    @admin.display(description="preferences")
    def order(self, policy: AllocationPolicy) -> str:
        """The preferences in words."""
        order = words.describe_preferences(policy.preferences)
        return f"{order} (cannot be followed)" if problems_of(policy) else order

    @admin.display(description="as it stands")
    def broken(self, policy: AllocationPolicy) -> str:
        """What somebody wrote past this form, and why the built-in policy is used instead."""
        return (
            f"{self.order(policy)}. {' '.join(problems_of(policy))} The built-in policy is used until this is mended."
        )

    @admin.display(description="tolerance", ordering="tolerance_km")
    def tolerance(self, policy: AllocationPolicy) -> str:
        """With its unit."""
        return f"{policy.tolerance_km:,g} km"


def _locked(policy: AllocationPolicy, *, seen_at: str) -> AllocationPolicy:
    """What is stored, locked until the transaction ends. Raises Conflict when it is not what was seen then."""
    stored = AllocationPolicy.objects.select_for_update(no_key=True).filter(pk=policy.pk).first()
    if stored is None:
        raise Conflict("This policy was deleted meanwhile.")
    if seen(stored) != seen_at:
        raise Conflict("This policy was changed meanwhile, and is shown as it is now.")
    return stored


# --- postal areas --------------------------------------------------------------------------------------------------


@admin.register(PostalArea)
class PostalAreaAdmin(ReadOnly, LargeTableAdmin[PostalArea]):
    """List and look; `manage.py load_postal_areas` writes them."""

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
        """What has a digit is a code or its beginning; what has none may be one too, and is looked for in the names."""
        term = search_term.strip()
        code = geography.plain(term)
        if not term:
            return queryset, False
        found = Q(prefix__startswith=code) | Q(prefix__in=[code[:length] for length in range(1, len(code) + 1)])
        if not code or not any(map(str.isdigit, code)):
            found = Q(name__icontains=term)
        return queryset.filter(found), False
