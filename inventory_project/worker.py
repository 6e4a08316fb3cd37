"""What a Celery worker of this service does differently from Celery's own."""

from typing import Any

from celery.worker.consumer import Consumer as CelerysConsumer

DELAYED_DELIVERY = "celery.worker.consumer.delayed_delivery:DelayedDelivery"
CelerysSteps: Any = CelerysConsumer.Blueprint


class Steps(CelerysSteps):  # type: ignore[misc]  # the stubs do not know the class
    """The steps in which a worker starts, without the one that declares some fifty queues for tasks that begin later.

    Celery takes it where it sees a quorum queue. No task of this service begins later, and the service's user at
    RabbitMQ has no right to declare those queues.
    """

    default_steps = tuple(step for step in CelerysSteps.default_steps if step != DELAYED_DELIVERY)


class Consumer(CelerysConsumer):
    """Takes tasks from the service's queue, and declares no other one."""

    Blueprint = Steps
