"""What every admin page of this service has in common.

Lists stay fast on a million rows. The books are read-only. An action asks for confirmation, is sent by POST and calls
the domain. A refusal is translated by one rule: Invalid becomes a form error, every other refusal a message.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

import django_celery_beat.admin  # noqa: F401  # registers the models that are unregistered below
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

from inventory_project.foundation import failures, values
from inventory_project.foundation.errors import Invalid, Refusal
from inventory_project.foundation.failures import Failure

admin.site.site_header = admin.site.site_title = "Inventory Service"
admin.site.index_title = "Warehouses, stock and reservations"
admin.site.site_url = "/api/docs"
admin.site.enable_nav_sidebar = False  # the lists need its width

MAX_LISTED = 10_000  # rows that can be paged through; search or filter to find others
MAX_TERM = 255  # characters of a search, as the longest text that is searched
MAX_SELECTED = 500  # rows for one action, as many as the expiry job releases in one transaction
MAX_REPORTED = 10  # refusals listed one by one
BUSY = "Somebody else is changing this right now. Nothing was changed. Try again."
ACTOR_LENGTH = 150  # the length of the column; a user name can be as long without the prefix

Row = TypeVar("Row", bound=Model)
Child = TypeVar("Child", bound=Model)
Result = TypeVar("Result")
# Takes the ids of the selected rows and the cleaned form; returns an answer for each row.
Act = Callable[[Sequence[UUID], dict[str, Any]], Sequence[object]]


class BoundedPaginator(Paginator[Any]):
    """Counts at most MAX_LISTED rows: an exact count would read the whole table for every page."""

    @cached_property
    def count(self) -> int:
        rows = cast("QuerySet[Any]", self.object_list)
        return rows.order_by()[:MAX_LISTED].count()


class ReadOnly:
    """A mixin for an admin or an inline of the books: it allows viewing to users with the right, and nothing else."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False: only the domain adds rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False: only the domain changes rows."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """False: the record of what happened is never deleted."""
        return False


class ReadOnlyInline(ReadOnly, admin.TabularInline[Child, Row]):
    """A read-only table of the rows that belong to a row, such as the lines of a reservation."""

    extra = 0

    class Media:
        css = {"all": ["inventory_project/admin.css"]}


class ReportsRefusals(admin.ModelAdmin[Row]):
    """Shows a refusal on saving or deleting as a message, on the page from which it was sent.

    It does the same if waiting for somebody else's lock took too long.
    """

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the form or save it."""
        view = super().changeform_view
        return self.report_refusals(request, partial(view, request, object_id, form_url, extra_context))

    def delete_view(self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Ask for confirmation, or delete."""
        return self.report_refusals(request, partial(super().delete_view, request, object_id, extra_context))

    def report_refusals(self, request: HttpRequest, work: Callable[[], Result]) -> Result | HttpResponse:
        """Return the answer of `work`, or redirect with a message if it refuses. On POST, `work` is one transaction."""
        try:
            return work()
        except Refusal as refusal:
            sentence = f"{refusal.detail} Nothing was changed."
        except DatabaseError as error:
            # A GET is not redirected to the same page, where it would only wait again.
            if request.method != "POST" or failures.kind_of(error) not in (Failure.LOCKED, Failure.BUSY, Failure.SLOW):
                raise
            sentence = BUSY
        self.message_user(request, sentence, messages.ERROR)
        return HttpResponseRedirect(request.get_full_path())


class LargeTableAdmin(admin.ModelAdmin[Row]):
    """The list of a large table. `search_fields` are lookups that an index supports; they match the whole term."""

    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # facets would count every choice of every filter
    list_per_page = 50
    sortable_by = ()  # only the list's own ordering has an index

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The rows found by the first of `search_fields` that finds any.

        The lookups are tried one after the other, because no index serves an OR over several. Django's own search casts
        a UUID column to text, which no index serves either.
        """
        term = search_term.strip()
        if not term:
            return queryset, False
        with suppress(values.WrongValue):  # a row from before the rule may have such a text
            term = values.read_identifier(term, most=MAX_TERM)
        for lookup in self.get_search_fields(request):
            try:
                found = queryset.filter(**{lookup: term})
            except ValidationError:  # the term is not a UUID, and the column holds one
                continue
            if found.exists():
                return found, False
        return queryset.none(), False

    def response_action(  # type: ignore[override]  # the stubs are a version ahead
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Run the action. Malformed ids, on which Django would fail, are refused with a message."""
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
        """Show the question with the selected rows. Once it is confirmed, `act` on them and report the result."""
        is_answered = "is_answered" in request.POST
        # The ids in the confirmed form: the list may be filtered, and rows may have left it since the question.
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
            self._report(request, form, answers, done=done)
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

    def _report(self, request: HttpRequest, form: forms.Form, answers: Sequence[object], *, done: str) -> None:
        refusals = [answer for answer in answers if isinstance(answer, Refusal)]
        listed = [refusal for refusal in refusals if not isinstance(refusal, Invalid)]
        self.message_user(request, f"{done}: {len(answers) - len(refusals)}.", messages.SUCCESS)
        for refusal in refusals:
            if isinstance(refusal, Invalid):
                form.add_error(None, refusal.detail)
        for refusal in listed[:MAX_REPORTED]:
            self.message_user(request, refusal.detail, messages.WARNING)
        if len(listed) > MAX_REPORTED:
            self.message_user(request, f"{len(listed) - MAX_REPORTED} more were refused.", messages.WARNING)


def answered(call: Callable[[], Result]) -> Result | Refusal:
    """Return the result of `call`, or the refusal that it raises."""
    try:
        return call()
    except Refusal as refusal:
        return refusal


def flag(field: str, word: str, *, when: bool = True) -> Callable[[Any, Any], str]:
    """A column of an admin list that shows `word` in rows where the field is `when`.

    Django's own boolean column shows a green tick for true, which makes a blocked product look fine.
    """

    @admin.display(description=word, ordering=field)
    def column(_admin: Any, row: Any) -> str:
        return word if getattr(row, field) is when else "-"

    return column


def staff_actor(request: HttpRequest) -> str:
    """The name under which the books record the user of the admin, such as `staff:ana`."""
    return f"staff:{request.user.get_username()}"[:ACTOR_LENGTH]


if not settings.RABBITMQ_URL:
    # Only beat reads the tables of django-celery-beat, and it runs only with RabbitMQ: a change would do nothing.
    for model in [model for model in admin.site._registry if model._meta.app_label == "django_celery_beat"]:
        admin.site.unregister(model)
