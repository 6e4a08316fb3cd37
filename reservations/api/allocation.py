"""The API's format of an allocation: why a reservation's warehouses were chosen."""

from typing import Any, get_args

from rest_framework import serializers

from warehouses.allocation import words
from warehouses.allocation.geography import Precision
from warehouses.allocation.policies import PREFERENCES, SPLITS
from warehouses.allocation.preferences import BY_ID
from warehouses.allocation.terms import NOT_SERVED

LOST_BY = (*PREFERENCES, BY_ID)


class AllocationPolicyOut(serializers.Serializer[Any]):
    region = serializers.CharField(allow_blank=True, help_text="Empty: every region without a policy of its own.")
    preferences = serializers.ListField(
        child=serializers.CharField(), help_text=f"In their order, of {', '.join(PREFERENCES)}."
    )
    tolerance_km = serializers.FloatField(help_text="No more than this farther than the nearest is equally near.")
    split = serializers.ChoiceField(choices=SPLITS)
    most_parcels = serializers.IntegerField(allow_null=True, help_text="Only with `at_most`.")
    is_built_in = serializers.BooleanField(help_text="Staff have created no policy for the region.")


class DeliveryOut(serializers.Serializer[Any]):
    area = serializers.CharField(allow_blank=True, help_text="Country and known beginning of the code, `BR 01310`.")
    name = serializers.CharField(allow_blank=True)
    precision = serializers.ChoiceField(
        choices=get_args(Precision),
        help_text="How much of the postal code is known; `region`: only the state or a similar area.",
    )
    region = serializers.CharField(allow_blank=True)


class AllocationNoteOut(serializers.Serializer[Any]):
    code = serializers.ChoiceField(choices=list(words.NOTES))
    detail = serializers.CharField(help_text="A sentence for a person.")


class AllocationCandidateOut(serializers.Serializer[Any]):
    """A warehouse that might sell one of the products there; `available` and `share_taken` are by product id."""

    warehouse_id = serializers.CharField()
    region = serializers.CharField()
    priority = serializers.IntegerField()
    distance_km = serializers.FloatField(allow_null=True, help_text="To the delivery; null if it is not known.")
    lost_by = serializers.ChoiceField(
        choices=LOST_BY,
        allow_null=True,
        help_text="The preference by which it lost, if it could have served the order by itself.",
    )
    available = serializers.DictField(child=serializers.IntegerField(), help_text="Units, before this order.")
    share_taken = serializers.DictField(
        child=serializers.FloatField(),
        help_text="0 to 1, of what was there after the last replenishment: what had been sold or was held by then.",
    )


class AllocationRejectedOut(serializers.Serializer[Any]):
    warehouse_id = serializers.CharField()
    product_id = serializers.UUIDField()
    reason = serializers.ChoiceField(choices=["blocked", "closed", NOT_SERVED, "insufficient"])
    requested = serializers.IntegerField(required=False, help_text="Units requested; only for `insufficient`.")
    available = serializers.IntegerField(required=False, help_text="Units available there; only for `insufficient`.")


class AllocationSaidOut(serializers.Serializer[Any]):
    preference = serializers.ChoiceField(choices=PREFERENCES)
    best = serializers.FloatField(
        allow_null=True, help_text="Parcels, kilometres, priorities or shares, added up; null where none is known."
    )
    left = serializers.IntegerField(
        help_text="How many sets of warehouses it left; a single warehouse counts as a set."
    )


class AllocationPartOut(serializers.Serializer[Any]):
    product_id = serializers.UUIDField()
    warehouse_id = serializers.CharField()
    quantity = serializers.IntegerField()


class AllocationDecisionOut(serializers.Serializer[Any]):
    strategy = serializers.ChoiceField(choices=list(words.STRATEGIES))
    tie_break = serializers.ChoiceField(choices=list(words.TIE_BREAKS), allow_null=True)
    said = AllocationSaidOut(many=True, help_text="The result of each preference that was applied, in order.")
    parts = AllocationPartOut(many=True)


class AllocationReasonsOut(serializers.Serializer[Any]):
    """The full record. Members that version 1 did not record are null."""

    version = serializers.IntegerField(help_text="The version of the record's format; 1 has fewer members.")
    sentence = serializers.CharField(help_text="The reasons as text for a person.")
    strategy = serializers.ChoiceField(
        choices=list(words.STRATEGIES), help_text="The strategy of the decision with the last resort."
    )
    tie_break = serializers.ChoiceField(
        choices=list(words.TIE_BREAKS),
        allow_null=True,
        help_text="What decided it; null if every line named its warehouse.",
    )
    policy = AllocationPolicyOut(allow_null=True)
    allow_split = serializers.BooleanField(allow_null=True, help_text="As the order asked.")
    delivery = DeliveryOut(allow_null=True)
    notes = AllocationNoteOut(many=True, help_text="Facts that were missing, and other remarks.")
    steps = serializers.IntegerField(allow_null=True, help_text="Sets of warehouses that were looked at.")
    candidates = AllocationCandidateOut(many=True, help_text="The nearest first, then by priority and id.")
    candidates_left_out = serializers.IntegerField(
        help_text="Number of less preferred candidates that were not recorded."
    )
    rejected = AllocationRejectedOut(many=True, help_text="Why a warehouse could not serve a whole line.")
    chosen = AllocationDecisionOut(many=True)


class AllocationOut(serializers.Serializer[Any]):
    """Why these warehouses were chosen. `ReservationViewSet.allocation` builds it by hand."""

    reservation_id = serializers.UUIDField()
    order_id = serializers.UUIDField()
    delivery_postal_code = serializers.CharField(allow_blank=True)
    allocation = AllocationReasonsOut(
        allow_null=True,
        help_text="Null if another version of the service wrote a record that this version cannot read.",
    )
