"""What a person sees in a browser: the admin from log-in to a blocked product, and the page to try the API."""

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect

from inventory_project.foundation.messaging.rabbitmq import topology
from tests.e2e.conftest import SCREENSHOTS, Service
from tests.integration.messaging.mail import NO_ID, Mail

LISTS = (
    *("stock/product", "stock/salesblock", "stock/stocklevel", "stock/stockmovement", "stock/stockdocument"),
    *("reservations/reservation", "messaging/outboxevent", "messaging/inboxmessage"),
    *("warehouses/warehouse", "warehouses/postalarea", "warehouses/allocationpolicy", "access/apitoken"),
)


def shoot(page: Page, name: str) -> None:
    """A picture for whoever looks at the pages, whole and with all that is below the fold."""
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)


def test_the_log_in_leads_to_every_list_and_its_first_row(staff: Page) -> None:
    expect(staff.locator("#site-name")).to_have_text("Inventory Service")
    shoot(staff, "index")
    for address in LISTS:
        staff.goto(f"/admin/{address}/")
        name = address.replace("/", "-")
        shoot(staff, name)
        first = staff.locator("#result_list tbody th a").first
        if first.count() == 0:
            assert address in ("stock/salesblock", "messaging/inboxmessage", "warehouses/allocationpolicy")
            continue
        first.click()
        expect(staff.locator("#content h2").first).to_be_visible()
        shoot(staff, f"{name}-row")


def test_the_pages_of_the_second_factor_and_of_a_periodic_task_load_what_they_need(staff: Page) -> None:
    staff.get_by_role("link", name="Second factor").click()
    expect(staff.locator("#qr-path")).to_be_visible()
    shoot(staff, "second-factor")
    staff.fill("input[name=code]", "000000")
    staff.get_by_role("button", name="Set up").click()
    expect(staff.locator(".errorlist")).to_contain_text("This code is wrong")
    staff.goto("/admin/django_celery_beat/periodictask/add/")
    expect(staff.locator(".field-crontab_translation")).to_be_hidden()
    shoot(staff, "periodic-task")


def test_a_product_is_blocked_with_a_reason(staff: Page, service: Service) -> None:
    staff.goto(f"/admin/stock/product/?q={service.product_id}")
    staff.check("input[name=_selected_action]")
    staff.select_option("select[name=action]", "block_sales")
    staff.click("button[name=index]")
    expect(staff.locator("h1").last).to_have_text("Block sales of these products?")
    shoot(staff, "block-question")
    staff.fill("input[name=reason]", "   ")
    staff.click("input[type=submit]")
    expect(staff.locator(".errorlist")).to_have_text("This field is required.")
    shoot(staff, "block-mistake")
    staff.fill("input[name=reason]", "recall 17")
    staff.click("input[type=submit]")
    expect(staff.locator(".messagelist")).to_have_text("Products blocked: 1.")
    shoot(staff, "block-done")
    staff.goto(f"/admin/stock/product/{service.product_id}/change/")
    expect(staff.locator("#sales_blocks-group")).to_contain_text("recall 17")
    expect(staff.locator("#sales_blocks-group")).to_contain_text("staff:ana")
    shoot(staff, "product-blocked")
    staff.goto("/admin/stock/salesblock/")
    shoot(staff, "salesblock")


def test_a_reservation_explains_itself_and_is_cancelled(staff: Page, service: Service) -> None:
    staff.goto(f"/admin/reservations/reservation/{service.reservation_id}/change/")
    expect(staff.locator(".field-explanation")).to_contain_text("serves the order")
    shoot(staff, "reservation")
    staff.locator("#items-group").get_by_text("movements", exact=True).click()
    expect(staff.locator("#result_list tbody tr")).to_have_count(1)
    shoot(staff, "movements-of-a-line")
    staff.goto(f"/admin/reservations/reservation/?q={service.reservation_id}")
    staff.check("input[name=_selected_action]")
    staff.select_option("select[name=action]", "cancel_now")
    staff.click("button[name=index]")
    shoot(staff, "cancel-question")
    staff.click("input[type=submit]")
    expect(staff.locator(".messagelist")).to_have_text("Reservations cancelled: 1.")
    expect(staff.locator("#result_list tbody")).to_contain_text("Cancelled")


@pytest.mark.parametrize("width", [1280, 390])
def test_a_dead_letter_is_looked_at_and_handled_anew(staff: Page, width: int) -> None:
    topology.declare_inbox([])
    script = "<script>document.title = 'taken over'</script>"
    with Mail(settings.RABBITMQ_URL) as mail:
        mail.empty()
        mail.bury(b'{"order_id": "0d9f1c6a-5b7e-4c1d-8a3f-2e6b9c4d7f10", "amount": 1250}', "pay_3OqL2v")
        mail.bury(
            f'{{"note": "{script}"}}'.encode(), "9" * 255, **{"x-reason": f"data.order_id: {script}", "x-tries": None}
        )
        mail.bury(
            b"\x89PNG\r\n\x1a\n" + b"\0\1" * 3_000, **{"x-reason": "The body is not UTF-8: byte 0 cannot be read."}
        )
        staff.set_viewport_size({"width": width, "height": 800})
        staff.goto("/admin/messaging/inboxmessage/")
        staff.get_by_role("link", name="Dead letters").click()
        expect(staff.locator("#content")).to_contain_text("3 dead letters.")
        expect(staff.locator("#content tbody tr")).to_have_count(3)
        expect(staff).to_have_title("Dead letters | Inventory Service")
        shoot(staff, f"dead-letters-{width}")
        staff.get_by_label("Select message pay_3OqL2v").check()
        staff.get_by_role("button", name="Put the selected back into the queue").click()
        expect(staff.locator("h1").last).to_have_text("Put these dead letters back into the queue?")
        shoot(staff, f"dead-letters-question-{width}")
        staff.get_by_role("button", name="Yes, do it").click()
        expect(staff.locator(".messagelist")).to_have_text("Dead letters put back into the queue: 1.")
        expect(staff.locator("#content tbody tr")).to_have_count(2)
        staff.get_by_role("button", name="Put all 2 back into the queue").click()
        expect(staff.locator("h1").last).to_have_text("Put 2 dead letters back into the queue?")
        shoot(staff, f"dead-letters-all-{width}")
        staff.get_by_role("button", name="Yes, do it").click()
        expect(staff.locator("#content")).to_contain_text("There are no dead letters.")
        shoot(staff, f"dead-letters-none-{width}")
        assert [message_id for message_id, _, _ in mail.take()] == ["pay_3OqL2v", "9" * 255, NO_ID]


@pytest.mark.parametrize("width", [1280, 390])
def test_the_api_is_tried_on_its_page_with_a_token(page: Page, service: Service, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/api/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    shoot(page, f"docs-{width}")
    page.click("button.authorize")
    page.fill(".auth-container input", service.token)
    page.click(".auth-btn-wrapper button.authorize")
    page.click(".auth-btn-wrapper button.btn-done")
    operation = page.locator(".opblock", has=page.get_by_text("/api/inventory/products/{product_id}/availability"))
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.locator("tr[data-param-name=product_id] input").fill(str(service.product_id))
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response")
    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text(str(service.product_id))
    shoot(page, f"docs-answer-{width}")


@pytest.mark.parametrize("operation_id", ["products_retrieve", "availability_create"])
def test_what_the_page_to_try_the_api_fills_in_succeeds(page: Page, service: Service, operation_id: str) -> None:
    page.goto("/")
    page.click("button.authorize")
    page.fill(".auth-container input", service.token)
    page.click(".auth-btn-wrapper button.authorize")
    page.click(".auth-btn-wrapper button.btn-done")
    operation = page.locator(f".opblock[id$=-{operation_id}]")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    shoot(page, f"docs-{operation_id}")
    operation.get_by_role("button", name="Execute").click()
    answer = operation.locator(".live-responses-table .response")
    expect(answer).to_contain_text("200")
    expect(answer).to_contain_text(service.product_id)
