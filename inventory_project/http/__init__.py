"""What the doors of the HTTP API share: strict JSON in, problem+json out.

A viewset translates in, makes one call, translates out; all refusals, its own, the domain's and the framework's, leave
by `problems.exception_handler`. Nothing here knows an app.

    class ReservationViewSet(viewsets.GenericViewSet[Reservation]):
        queryset = Reservation.objects.with_items()
        serializer_class = ReservationOut
        filterset_class = ReservationFilter                 # of django-filter; a parameter beside it: 400
        ordering = ("-id",)                                 # what `pages.Pages` walks along
        required_scopes = {"list": scopes.RESERVATIONS_READ, "create": scopes.RESERVATIONS_WRITE}

        def list(self, request: Request) -> Response:
            page = self.paginate_queryset(self.filter_queryset(self.get_queryset()))
            return self.get_paginated_response(self.get_serializer(page, many=True).data)

        @extend_schema(request=ReservationIn, responses={201: ReservationOut, **schema.refusals(409, 422)})
        def create(self, request: Request) -> Response:
            wanted = ReservationIn.read(request.data)       # a `fields.StrictSerializer`; refuses with 400
            result = lifecycle.reserve(**wanted, actor=access.actor_of(request))
            return Response(ReservationOut(result.reservation).data, status=200 if result.is_replay else 201)

Paths name their ids by the converter of `paths`: `path("reservations/<id:reservation_id>", ...)`. Query parameters that
are no filter of a list are read by `SomeQuery.read(request.query_params)`, with `DigitsField` for numbers.
"""
