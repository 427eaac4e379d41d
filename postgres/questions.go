package postgres

import (
	"context"
	"fmt"
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
	err = m.s.write(ctx, func(c *conn) error {
		err := c.QueryRow(ctx, `INSERT INTO aig_question (kind, body) VALUES ($1, $2) RETURNING id`, kind, body).Scan(&id)
		if err != nil {
			return err
		}
		return m.addAnswer(ctx, c, id, own)
	})
	if err != nil {
		return nil, nil, err
	}
	over := time.Now().Add(wait)
	err = until(ctx, askEvery, func() (bool, error) {
		var waiting bool
		answers, missing, waiting, err = m.s.answers(ctx, id, past)
		return !waiting || time.Now().After(over), err
	})
	return answers, missing, err
}

// answers are those there are, and whether there may be more soon.
func (s *Store) answers(ctx context.Context, id int64, past time.Duration) (answers map[string][]byte, missing []string, waiting bool, err error) {
	err = s.look(ctx, func(c *conn) error {
		answers, missing, waiting = map[string][]byte{}, nil, false
		rows, err := c.Query(ctx, `SELECT h.id, a.body, `+live+` FROM aig_holder h LEFT JOIN aig_answer a ON a.holder = h.id AND a.question = $2
			WHERE NOT h.forgotten AND (NOT h.has_left OR h.seen > now() - $3 * interval '1 microsecond') ORDER BY h.id`,
			s.stale().Microseconds(), id, past.Microseconds())
		if err != nil {
			return err
		}
		var holder string
		var body []byte
		var lives bool
		_, err = pgx.ForEachRow(rows, []any{&holder, &body, &lives}, func() error {
			if body == nil {
				missing, waiting = append(missing, holder), waiting || lives
			} else {
				answers[holder] = body
			}
			return nil
		})
		return err
	})
	return answers, missing, waiting, err
}

// Questions are those that m has not answered yet, the oldest first.
func (m *Member) Questions(ctx context.Context) (out []budget.Question, err error) {
	err = m.s.look(ctx, func(c *conn) error {
		rows, err := c.Query(ctx, `SELECT q.id, q.kind, q.body FROM aig_question q WHERE q.asked > now() - $2 * interval '1 microsecond'
			AND NOT EXISTS (SELECT 1 FROM aig_answer a WHERE a.question = q.id AND a.holder = $1) ORDER BY q.id LIMIT 100`, m.id, questionLife.Microseconds())
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[budget.Question])
		return err
	})
	return out, err
}

// Answer answers a question of Questions; a second answer changes nothing.
func (m *Member) Answer(ctx context.Context, id int64, body []byte) error {
	if len(body) > MaxAnswer {
		return fmt.Errorf("an answer of %d bytes is longer than %d", len(body), MaxAnswer)
	}
	return m.s.write(ctx, func(c *conn) error { return m.addAnswer(ctx, c, id, body) })
}

func (m *Member) addAnswer(ctx context.Context, c *conn, id int64, body []byte) error {
	_, err := c.Exec(ctx, `INSERT INTO aig_answer (question, holder, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, id, m.id, append([]byte{}, body...))
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
