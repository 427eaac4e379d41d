package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

// Replicas returns all that were not forgotten, in the order of their ids.
func (s *Store) Replicas(ctx context.Context) (out []budget.ReplicaStatus, err error) {
	err = s.read(ctx, func(ctx context.Context, c *conn) error {
		rows, err := c.Query(ctx, `SELECT h.id, h.name, h.program, h.config_hash, h.seen, h.pushed, extract(epoch FROM now() - h.seen), extract(epoch FROM now() - coalesce(h.pushed, h.joined)),
				NOT h.has_left AND NOT (`+live+`), h.applied, CASE WHEN h.has_left THEN 0 ELSE greatest(0, s.version - h.applied) END, h.has_left, `+sumOf("l.lease")+`
			FROM aig_state s, aig_holder h LEFT JOIN (aig_lease l JOIN aig_account a ON a.budget_id = l.budget_id AND a.start = l.start AND a.scope = l.scope
				AND a."end" > extract(epoch FROM now()) * 1000000000) ON l.holder = h.id
			WHERE NOT h.forgotten GROUP BY h.id, s.version ORDER BY h.id`, s.stale().Microseconds())
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (r budget.ReplicaStatus, err error) {
			var pushed *time.Time
			var silence, lag float64
			err = row.Scan(&r.ID, &r.Name, &r.Program, &r.ConfigHash, &r.Seen, &pushed, &silence, &lag, &r.Silent, &r.Rules, &r.Behind, &r.Left, &r.Leased)
			r.Silence, r.Lag = max(0, time.Duration(silence*1e9)), max(0, time.Duration(lag*1e9))
			if pushed != nil {
				r.Pushed = *pushed
			}
			return r, err
		})
		return err
	})
	return out, err
}

// CountReplicas is how many there are that were not forgotten.
func (s *Store) CountReplicas(ctx context.Context) (n int, err error) {
	err = s.look(ctx, func(ctx context.Context, c *conn) error {
		return c.QueryRow(ctx, `SELECT count(*) FROM aig_holder WHERE NOT forgotten`).Scan(&n)
	})
	return n, err
}

// Forget shuts out a replica that will not come back. What it had reserved counts
// as spent. What it had not used yet counts as spent too if charge is set; else
// others may have it, which is true only if the replica admits nothing any more: one
// that left, or was silent for MaxStale, others are refused.
func (s *Store) Forget(ctx context.Context, id string, charge bool, by budget.Author) error {
	if err := by.Check(); err != nil {
		return err
	}
	return s.forget(ctx, id, charge, nil, by)
}

// forget is Forget, for a replica that was last heard of at since; nil: whenever.
func (s *Store) forget(ctx context.Context, id string, charge bool, since *time.Time, by budget.Author) error {
	_, err := s.edit(ctx, func(ctx context.Context, c *conn, now time.Time) error {
		var seen time.Time
		var alive bool
		err := c.QueryRow(ctx, `UPDATE aig_holder SET epoch = epoch + 1, forgotten = true WHERE id = $1 AND NOT forgotten AND ($2::timestamptz IS NULL OR seen = $2)
			RETURNING seen, NOT has_left AND seen > now() - $3 * interval '1 microsecond'`, id, since, s.stale().Microseconds()).Scan(&seen, &alive)
		if errors.Is(err, pgx.ErrNoRows) {
			return budget.NotFound("replica_not_found", fmt.Sprintf("there is no replica %q; `aigateway replicas list` names them", budget.Clip(id, 100)))
		}
		if err != nil {
			return err
		}
		if alive && !charge {
			return &budget.Error{Kind: budget.KindConflict, Reason: "replica_is_live", Message: fmt.Sprintf("replica %s reached the store at %s and may still admit calls on what it was lent; stop it, and release once it is silent or has left (at most %s later), or charge",
				id, seen.UTC().Format(time.RFC3339), s.stale())}
		}
		if _, err := c.Exec(ctx, `SELECT 1 FROM aig_account a JOIN aig_lease l ON l.budget_id = a.budget_id AND l.start = a.start AND l.scope = a.scope AND l.holder = $1
			ORDER BY a.budget_id, a.start, a.scope FOR UPDATE OF a`, id); err != nil {
			return err
		}
		var released int64
		err = c.QueryRow(ctx, `WITH old AS (SELECT budget_id, start, scope, lease, spent, reserved, CASE WHEN $2 THEN lease ELSE spent + reserved END AS now FROM aig_lease WHERE holder = $1),
			kept AS (UPDATE aig_lease l SET lease = o.now, spent = o.now, reserved = 0 FROM old o WHERE l.holder = $1 AND l.budget_id = o.budget_id AND l.start = o.start AND l.scope = o.scope),
			summed AS (UPDATE aig_account a SET allocated = allocated - o.lease + o.now, spent = a.spent - o.spent + o.now, reserved = a.reserved - o.reserved
				FROM old o WHERE a.budget_id = o.budget_id AND a.start = o.start AND a.scope = o.scope)
			SELECT `+sumOf("lease - now")+` FROM old`, id, charge).Scan(&released)
		if err != nil {
			return err
		}
		return audit(ctx, c, now, by, "forget_replica", id, map[string]any{"charge": charge, "released_nano_usd": released, "seen": seen.UTC()})
	})
	return err
}
