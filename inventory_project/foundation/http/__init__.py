"""What the doors of the HTTP API share: strict JSON in, problem+json out.

A viewset translates in, makes one call, translates out. All refusals, from the view, the domain or the framework, are
answered by `problems.exception_handler`. Nothing here knows an app. In short, from `stock.api.products`:

    class ProductViewSet(ViewSet[Product]):                 # of `views`
        queryset = Product.objects.all()
        serializer_class = ProductOut
        filterset_class = ProductFilter                     # of django-filter; any other parameter: 400
        ordering = ("id",)                                  # what `pages.Pages` walks along
        required_scopes = {"list": scopes.STOCK_READ, "save": scopes.STOCK_WRITE}

        def list(self, request: Request) -> Response:
            return self.page()

        @extend_schema(request=ProductIn, responses={200: ProductOut, 201: ProductOut, **schema.refusals(409)})
        def save(self, request: Request, product_id: UUID) -> Response:
            '''Create or update a product.'''                # the summary in the OpenAPI document
            body = ProductIn.read(request.data)             # a `fields.StrictSerializer`; refuses with 400
            product, is_new = catalogue.put(catalogue.ProductRequest(product_id=product_id, **body))
            return Response(ProductOut(product).data, status=201 if is_new else 200)

Paths name their ids by the converter of `paths`: `path("products/<id:product_id>", ...)`. Query parameters that do not
filter a list are read by `SomeQuery.read(request.query_params)`, with `DigitsField` for numbers.
"""
