"""Pages of reservations end after so many lines: a reservation may have hundreds, and a page 200 reservations."""

from itertools import accumulate
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.db.models import Count, OuterRef, Subquery, prefetch_related_objects
from django.db.models.functions import Coalesce
from rest_framework.request import Request

from inventory_project.foundation.http.pages import Pages
from reservations.models import Reservation, ReservationItem

if TYPE_CHECKING:
    from rest_framework.views import APIView

LINES = "number_of_lines"


class ReservationPages(Pages):
    """Pages that also end before a reservation with which they would have over RESERVATION_PAGE_MAX_LINES lines.

    The first reservation of a page is always on it. `next` and `previous` go on where the page ends.
    """

    page: list[Reservation]

    def paginate_queryset(self, queryset: Any, request: Request, view: "APIView | None" = None) -> list[Any] | None:
        """The reservations of the page, with their items."""
        of_reservation = ReservationItem.objects.filter(reservation=OuterRef("pk")).order_by().values("reservation")
        number = Coalesce(Subquery(of_reservation.annotate(n=Count("pk")).values("n")), 0)
        super().paginate_queryset(queryset.prefetch_related(None).annotate(**{LINES: number}), request, view)
        self._end_after_enough_lines()
        prefetch_related_objects(self.page, "items")
        return self.page

    def _end_after_enough_lines(self) -> None:
        """Leave the reservations at the far end of the page to the next one, seen from where the cursor is."""
        is_backwards = self.cursor is not None and self.cursor.reverse
        seen = self.page[::-1] if is_backwards else self.page
        sums = accumulate(getattr(reservation, LINES) for reservation in seen)
        number = sum(lines <= settings.RESERVATION_PAGE_MAX_LINES for lines in sums) or 1
        if number >= len(seen):
            return
        position = self._get_position_from_instance(seen[number], self.ordering)
        if is_backwards:
            self.page = seen[:number][::-1]
            self.has_previous, self.previous_position = True, position
        else:
            self.page = seen[:number]
            self.has_next, self.next_position = True, position
