-- Fills a migrated database that has one product, with levels at three warehouses and one ACTIVE reservation of it, with
-- {products} products more and {holds} ACTIVE reservations of one unit each, dealt out over their levels. The books are
-- consistent, and look as they would had the service written them; whatever has a shape of its own (the explanation of
-- an allocation, the data of an event) is copied from that first reservation.

SET synchronous_commit = off;
SET work_mem = '256MB';
SET session_replication_role = replica; -- no trigger for each row: what they would look up has just been written

-- A UUIDv7 of the n-th millisecond from an hour ago, so that ids are in the order of time, as ours are.
CREATE FUNCTION pg_temp.id_in_order(n bigint) RETURNS uuid LANGUAGE sql AS $$
  SELECT (lpad(to_hex((extract(epoch FROM now() - interval '1 hour') * 1000)::bigint + n), 12, '0') || '7'
          || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid
$$;

CREATE TEMPORARY TABLE made_product AS SELECT n, gen_random_uuid() AS id FROM generate_series(1, {products}) AS n;

CREATE TEMPORARY TABLE made_level AS
SELECT (p.n - 1) * 3 + w.n AS n, p.id AS product_id, w.id AS warehouse_id,
       'growth-' || w.id || '-' || (p.n - 1) / 500 AS reference, {units} AS received,
       {holds} / (3 * {products}) + ((p.n - 1) * 3 + w.n <= {holds} % (3 * {products}))::int AS held
FROM made_product p CROSS JOIN (SELECT row_number() OVER (ORDER BY id) AS n, id FROM warehouse) AS w;

CREATE TEMPORARY TABLE made_hold AS
SELECT h.n, pg_temp.id_in_order(h.n) AS reservation_id, gen_random_uuid() AS order_id,
       pg_temp.id_in_order(h.n) AS line_id, pg_temp.id_in_order(h.n) AS movement_id, l.product_id, l.warehouse_id,
       now() - interval '1 hour' AS created_at, now() + interval '1 hour' + h.n * interval '1 millisecond' AS expires_at
FROM generate_series(1, {holds}) AS h (n) JOIN made_level l ON l.n = (h.n - 1) % (3 * {products}) + 1;

INSERT INTO stock_product (id, sku, name, is_blocked, created_at, updated_at)
SELECT id, 'growth-' || n, 'A product of the benchmark', false, now() - interval '2 hours', now() - interval '2 hours'
FROM made_product ORDER BY n;

INSERT INTO stock_level (product_id, warehouse_id, available, reserved, incoming, replenished, is_blocked, is_closed, is_low,
                         version, last_movement, updated_at)
SELECT product_id, warehouse_id, received - held, held, 0, received, false, false, false, 1 + held, 1 + held,
       now() - interval '1 hour'
FROM made_level ORDER BY n;

INSERT INTO stock_document (kind, reference, warehouse_id, reason, actor, created_at)
SELECT 'RECEIPT', reference, warehouse_id, '', 'benchmark', now() - interval '2 hours'
FROM made_level GROUP BY reference, warehouse_id;

INSERT INTO stock_document_line (document_id, product_id, quantity)
SELECT d.id, l.product_id, l.received FROM made_level l JOIN stock_document d ON d.reference = l.reference;

INSERT INTO stock_movement (id, product_id, warehouse_id, kind, available_delta, reserved_delta, incoming_delta, number,
                            available_after, reserved_after, incoming_after, line_id, reference, actor, reason, created_at)
SELECT pg_temp.id_in_order(n - {holds}), product_id, warehouse_id, 'RECEIPT', received, 0, 0, 1, received, 0, 0, NULL,
       reference, 'benchmark', '', now() - interval '2 hours'
FROM made_level ORDER BY n;

INSERT INTO reservation (id, order_id, status, is_live, expires_at, created_at, delivery_postal_code, allocation, actor)
SELECT h.reservation_id, h.order_id, 'ACTIVE', true, h.expires_at, h.created_at, '', first.allocation, 'benchmark'
FROM made_hold h CROSS JOIN (SELECT allocation FROM reservation LIMIT 1) AS first ORDER BY h.n;

INSERT INTO reservation_item (id, reservation_id, product_id, warehouse_id, quantity, confirmed, returned)
SELECT line_id, reservation_id, product_id, warehouse_id, 1, 0, 0 FROM made_hold ORDER BY n;

INSERT INTO stock_movement (id, product_id, warehouse_id, kind, available_delta, reserved_delta, incoming_delta, number,
                            available_after, reserved_after, incoming_after, line_id, reference, actor, reason, created_at)
SELECT movement_id, product_id, warehouse_id, 'RESERVE', -1, 1, 0, 1 + turn, {units} - turn, turn, 0, line_id, '', 'benchmark',
       '', created_at
FROM made_hold CROSS JOIN LATERAL (SELECT (n - 1) / (3 * {products}) + 1 AS turn) AS which ORDER BY n;

INSERT INTO outbox_event (event_id, type, subject, occasion, data, extensions, occurred_at, published_at)
SELECT pg_temp.id_in_order(h.n), first.type, h.reservation_id::text, '',
       first.data || jsonb_build_object('reservation_id', h.reservation_id, 'order_id', h.order_id), '{{}}', h.created_at, now()
FROM made_hold h CROSS JOIN (SELECT type, data FROM outbox_event WHERE subject IN (SELECT id::text FROM reservation)
                             LIMIT 1) AS first ORDER BY h.n;
