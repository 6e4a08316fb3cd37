"""What the doors of the HTTP API share: strict JSON in, problem+json out.

A viewset translates in, makes one call, translates out; all refusals, its own, the domain's and the framework's, leave
by `problems.exception_handler`. Nothing here knows an app.

    class ReservationViewSet(ViewSet[Reservation]):         # of `views`
        queryset = Reservation.objects.prefetch_related("items")
        serializer_class = ReservationOut
        filterset_class = ReservationFilter                 # of django-filter; a parameter beside it: 400
        ordering = ("-id",)                                 # what `pages.Pages` walks along
        required_scopes = {"list": scopes.RESERVATIONS_READ, "create": scopes.RESERVATIONS_WRITE}

        def list(self, request: Request) -> Response:
            return self.page()

        @extend_schema(request=ReserveIn, responses={201: ReservationOut, **schema.refusals(409, 422)})
        def create(self, request: Request) -> Response:
            '''Hold stock for an order.'''                  # the summary in the OpenAPI document
            body = ReserveIn.read(request.data)             # a `fields.StrictSerializer`; refuses with 400
            wanted = Reserve(order_id=body["order_id"], items=_items(body["items"]), actor=actor_of(request))
            outcome = lifecycle.one(lifecycle.reserve_many, wanted)
            return Response(ReservationOut(outcome.hold).data, status=200 if outcome.is_replay else 201)

Paths name their ids by the converter of `paths`: `path("reservations/<id:reservation_id>", ...)`. Query parameters that
are no filter of a list are read by `SomeQuery.read(request.query_params)`, with `DigitsField` for numbers.
"""
