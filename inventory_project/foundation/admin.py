"""The manner of the admin, one for all apps.

Lists stay quick on a million rows. The books are only read. An action asks first and is sent by POST; it calls the
domain, and what the domain refuses is told by one table: Invalid is a form error, every other refusal a message.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

import django_celery_beat.admin  # noqa: F401  # registers what is unregistered below
from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db import DatabaseError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.functional import cached_property

from inventory_project.foundation import database
from inventory_project.foundation.errors import Invalid, Refusal

admin.site.site_header = admin.site.site_title = "Inventory Service"
admin.site.index_title = "Warehouses, stock and reservations"
admin.site.site_url = "/api/docs"
admin.site.enable_nav_sidebar = False  # the lists need its width

MAX_LISTED = 10_000  # rows that can be paged through; who looks for others searches or filters
MAX_SELECTED = 500  # rows that one action takes, as many as the sweeper releases in one transaction
MAX_TOLD = 10  # refusals shown one by one
BUSY = "Somebody else is changing this just now. Nothing was changed: try again."
ACTOR_LENGTH = 150  # as the books store it; a user's name may be as long without its prefix

Row = TypeVar("Row", bound=Model)
Child = TypeVar("Child", bound=Model)
Result = TypeVar("Result")
# Takes the ids of the selected rows and the cleaned form; answers for each row.
Act = Callable[[Sequence[UUID], dict[str, Any]], Sequence[object]]


class BoundedPaginator(Paginator[Any]):
    """Counts no further than MAX_LISTED: an exact count reads the whole table, on every page."""

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return rows.order_by()[:MAX_LISTED].count()


class ReadOnly:
    """Mixed into an admin or an inline of the books: whoever may view them may view them, and nobody does more."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The domain adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """The domain changes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing that happened is deleted."""
        return False


class ReadOnlyInline(ReadOnly, admin.TabularInline[Child, Row]):
    """The lines that belong to a row."""

    extra = 0

    class Media:
        css = {"all": ["inventory_project/admin.css"]}


class TellsRefusals(admin.ModelAdmin[Row]):
    """What is refused on saving or deleting although the form was in order is told, on the page it was sent from.

    So is a wait for somebody else's lock that took too long.
    """

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show or save."""
        view = super().changeform_view
        return self.told(request, partial(view, request, object_id, form_url, extra_context))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Ask or delete."""
        return self.told(request, partial(super().delete_view, request, object_id, extra_context))

    def told(self, request: HttpRequest, work: Callable[[], Result]) -> Result | HttpResponse:
        """What `work` answers, or the way back with a message. When it was posted, `work` is one transaction."""
        try:
            return work()
        except Refusal as refusal:
            sentence = f"{refusal.detail} Nothing was changed."
        except DatabaseError as error:
            # Whoever only looks is not sent back to the same page, to wait there again.
            if request.method != "POST" or not database.is_timeout(error):
                raise
            sentence = BUSY
        self.message_user(request, sentence, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


class LargeTableAdmin(admin.ModelAdmin[Row]):
    """A list of many rows. `search_fields` are lookups that an index carries; the whole term must fit."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # a count for each choice of each filter
    list_per_page = 50
    sortable_by = ()  # only the order of the list has an index

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows that the first fitting one of `search_fields` finds.

        One after the other, for no index serves an OR over several; and Django's own search turns a UUID column into
        text, which none serves either.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        for lookup in self.get_search_fields(request):
            try:
                found = queryset.filter(**{lookup: term})
            except ValidationError:  # no UUID, where the column holds one
                continue
            if found.exists():
                return found, False
        return queryset.none(), False

    def response_action(  # type: ignore[override]  # the stubs are a version ahead
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Do the action; ids that are none, which Django would fail on, are refused."""
        try:
            return super().response_action(request, queryset)
        except ValidationError:
            self.message_user(request, "The selection cannot be read; nothing was changed.", messages.ERROR)
            return None

    def ask_first(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        *,
        question: str,
        done: str,
        act: Act,
        form_class: type[forms.Form] = forms.Form,
    ) -> HttpResponse | None:
        """Show the question with the selected rows; once it is answered, `act` on them and tell what came of it."""
        is_answered = "is_answered" in request.POST
        # The answer's own ids: the list behind it may be filtered, and the rows may have left it since the question.
        posted = request.POST.getlist(ACTION_CHECKBOX_NAME)
        rows = self.model._default_manager.filter(pk__in=posted) if is_answered else queryset
        selected = list(rows.order_by("pk")[: MAX_SELECTED + 1])
        if len(selected) > MAX_SELECTED:
            self.message_user(request, f"Select {MAX_SELECTED} rows at most; nothing was changed.", messages.ERROR)
            return None
        form = form_class(request.POST if is_answered else None)
        if is_answered and form.is_valid():
            try:
                answers = act([row.pk for row in selected], form.cleaned_data)
            except Refusal as refusal:
                answers = [refusal]
            self._tell(request, form, answers, done=done)
            if form.is_valid():
                return None
        context = {
            **self.admin_site.each_context(request),
            "title": question,
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "selected": selected,
            "action": request.POST["action"],
            "checkbox_name": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "admin/ask_first.html", context)

    def _tell(self, request: HttpRequest, form: forms.Form, answers: Sequence[object], *, done: str) -> None:
        refusals = [answer for answer in answers if isinstance(answer, Refusal)]
        told = [refusal for refusal in refusals if not isinstance(refusal, Invalid)]
        self.message_user(request, f"{done}: {len(answers) - len(refusals)}.", messages.SUCCESS)
        for refusal in refusals:
            if isinstance(refusal, Invalid):
                form.add_error(None, refusal.detail)
        for refusal in told[:MAX_TOLD]:
            self.message_user(request, refusal.detail, messages.WARNING)
        if len(told) > MAX_TOLD:
            self.message_user(request, f"Refused besides: {len(told) - MAX_TOLD}.", messages.WARNING)


def answered(call: Callable[[], Result]) -> Result | Refusal:
    """What `call` returns or refuses."""
    try:
        return call()
    except Refusal as refusal:
        return refusal


def flag(field: str, word: str, *, when: bool = True) -> Callable[[Any, Any], str]:
    """A column of an admin that says `word` where the field is `when`.

    Django's own shows a green tick for true, which makes a blocked product look well.
    """

    @admin.display(description=word, ordering=field)
    def column(_admin: Any, row: Any) -> str:
        return word if getattr(row, field) is when else "-"

    return column


def staff_actor(request: HttpRequest) -> str:
    """The name of whoever sits at the admin, for the books."""
    return f"staff:{request.user.get_username()}"[:ACTOR_LENGTH]


if not settings.RABBITMQ_URL:
    # The tables of django-celery-beat are for beat alone, which runs only with RabbitMQ: a change would do nothing.
    for model in [model for model in admin.site._registry if model._meta.app_label == "django_celery_beat"]:
        admin.site.unregister(model)
