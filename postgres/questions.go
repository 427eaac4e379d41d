package postgres

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"aigateway/budget"
)

const (
	// MaxAnswer is the longest body of a question or an answer, in bytes.
	MaxAnswer = 1 << 20
	// questionLife is for how long a question is asked.
	questionLife = 10 * time.Second
	// askEvery spaces looks at answers.
	askEvery = 50 * time.Millisecond
)

// Ask asks all replicas, gives m's own answer, and returns all answers by ids, once
// those that live have answered or wait is over. Those without an answer are missing:
// whoever lives, whoever is silent, and who left less than past ago.
func (m *Member) Ask(ctx context.Context, kind string, body, own []byte, wait, past time.Duration) (answers map[string][]byte, missing []string, err error) {
	if len(body) > MaxAnswer || len(own) > MaxAnswer {
		return nil, nil, fmt.Errorf("a question of %d bytes, answered with %d: that is longer than %d", len(body), len(own), MaxAnswer)
	}
	var id int64
	err = m.s.write(ctx, func(ctx context.Context, c *conn) error {
		err := c.QueryRow(ctx, `INSERT INTO aig_question (kind, body) VALUES ($1, $2) RETURNING id`, kind, body).Scan(&id)
		if err != nil {
			return err
		}
		return m.addAnswer(ctx, c, id, own)
	})
	if err != nil {
		return nil, nil, err
	}
	defer m.s.over(ctx, id)
	end := time.Now().Add(wait)
	err = until(ctx, askEvery, func() (bool, error) {
		var waiting bool
		missing, waiting, err = m.s.missing(ctx, id, past)
		return !waiting || time.Now().After(end), err
	})
	if err != nil {
		return nil, nil, err
	}
	answers, err = m.s.answers(ctx, id)
	missing = slices.DeleteFunc(missing, func(holder string) bool { return answers[holder] != nil }) // it came meanwhile
	return answers, missing, err
}

// missing are those without an answer, and whether one may come soon.
func (s *Store) missing(ctx context.Context, id int64, past time.Duration) (missing []string, waiting bool, err error) {
	err = s.look(ctx, func(ctx context.Context, c *conn) error {
		missing, waiting = nil, false
		rows, err := c.Query(ctx, `SELECT h.id, `+live+` FROM aig_holder h
			WHERE NOT h.forgotten AND (NOT h.has_left OR h.seen > now() - $3 * interval '1 microsecond')
				AND NOT EXISTS (SELECT 1 FROM aig_answer a WHERE a.holder = h.id AND a.question = $2) ORDER BY h.id`,
			s.stale().Microseconds(), id, past.Microseconds())
		if err != nil {
			return err
		}
		var holder string
		var lives bool
		_, err = pgx.ForEachRow(rows, []any{&holder, &lives}, func() error {
			missing, waiting = append(missing, holder), waiting || lives
			return nil
		})
		return err
	})
	return missing, waiting, err
}

// answers are those there are, of replicas that were not forgotten.
func (s *Store) answers(ctx context.Context, id int64) (answers map[string][]byte, err error) {
	err = s.look(ctx, func(ctx context.Context, c *conn) error {
		answers = map[string][]byte{}
		rows, err := c.Query(ctx, `SELECT a.holder, a.body FROM aig_answer a JOIN aig_holder h ON h.id = a.holder WHERE a.question = $1 AND NOT h.forgotten`, id)
		if err != nil {
			return err
		}
		var holder string
		var body []byte
		_, err = pgx.ForEachRow(rows, []any{&holder, &body}, func() error {
			answers[holder] = body
			return nil
		})
		return err
	})
	return answers, err
}

// over deletes a question that nobody waits for any more; one that cannot be deleted
// goes with Tidy.
func (s *Store) over(ctx context.Context, id int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	s.write(ctx, func(ctx context.Context, c *conn) error {
		_, err := c.Exec(ctx, `WITH q AS (DELETE FROM aig_question WHERE id = $1) DELETE FROM aig_answer WHERE question = $1`, id)
		return err
	})
}

// Questions are the first of those that m has not answered yet, the oldest first, with
// about MaxAnswer bytes together.
func (m *Member) Questions(ctx context.Context) (out []budget.Question, err error) {
	err = m.s.look(ctx, func(ctx context.Context, c *conn) error {
		rows, err := c.Query(ctx, `WITH open AS (SELECT q.id, sum(length(q.body)) OVER (ORDER BY q.id) - length(q.body) AS before FROM aig_question q
				WHERE q.asked > now() - $2 * interval '1 microsecond'
					AND NOT EXISTS (SELECT 1 FROM aig_answer a WHERE a.question = q.id AND a.holder = $1) ORDER BY q.id LIMIT 100)
			SELECT q.id, q.kind, q.body FROM aig_question q JOIN open ON open.id = q.id WHERE open.before < $3 ORDER BY q.id`, m.id, questionLife.Microseconds(), MaxAnswer)
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[budget.Question])
		return err
	})
	return out, err
}

// Answer answers a question of Questions; a second answer changes nothing, and neither
// does one that nobody waits for any more.
func (m *Member) Answer(ctx context.Context, id int64, body []byte) error {
	if len(body) > MaxAnswer {
		return fmt.Errorf("an answer of %d bytes is longer than %d", len(body), MaxAnswer)
	}
	return m.s.write(ctx, func(ctx context.Context, c *conn) error { return m.addAnswer(ctx, c, id, body) })
}

func (m *Member) addAnswer(ctx context.Context, c *conn, id int64, body []byte) error {
	_, err := c.Exec(ctx, `INSERT INTO aig_answer (question, holder, body) SELECT id, $2, $3 FROM aig_question WHERE id = $1 ON CONFLICT DO NOTHING`, id, m.id, append([]byte{}, body...))
	return err
}

// forgetQuestions deletes those that nobody waits for any more.
func forgetQuestions(ctx context.Context, c *conn) error {
	for _, sql := range []string{
		`DELETE FROM aig_question WHERE asked < now() - interval '1 minute'`,
		`DELETE FROM aig_answer a WHERE NOT EXISTS (SELECT 1 FROM aig_question q WHERE q.id = a.question)`,
	} {
		if _, err := c.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}
