package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Question is what a replica wants to know of all, such as their open reservations.
// Kind and Body are the askers' own.
type Question struct {
	ID   int64
	Kind string
	Body []byte
}

const (
	// maxAnswer is the longest body of a question or an answer, in bytes.
	maxAnswer = 1 << 20
	// questionLife is for how long a question is asked.
	questionLife = 10 * time.Second
	// askEvery spaces looks at answers.
	askEvery = 50 * time.Millisecond
)

// Ask asks all live replicas and returns their answers by their ids once all are
// there, or wait is over: then without those that missing names.
func (s *Store) Ask(ctx context.Context, kind string, body []byte, wait time.Duration) (answers map[string][]byte, missing []string, err error) {
	if len(body) > maxAnswer {
		return nil, nil, fmt.Errorf("a question of %d bytes is longer than %d", len(body), maxAnswer)
	}
	var id int64
	err = s.write(ctx, func(c *conn) error {
		return c.QueryRow(ctx, `INSERT INTO aig_question (kind, body) VALUES ($1, $2) RETURNING id`, kind, body).Scan(&id)
	})
	if err != nil {
		return nil, nil, err
	}
	over := time.Now().Add(wait)
	err = until(ctx, askEvery, func() (bool, error) {
		answers, missing, err = s.answers(ctx, id)
		return len(missing) == 0 || time.Now().After(over), err
	})
	return answers, missing, err
}

func (s *Store) answers(ctx context.Context, id int64) (answers map[string][]byte, missing []string, err error) {
	answers = map[string][]byte{}
	err = s.read(ctx, func(c *conn) error {
		rows, err := c.Query(ctx, `SELECT h.id, a.body FROM aig_holder h LEFT JOIN aig_answer a ON a.holder = h.id AND a.question = $2 WHERE `+live+` ORDER BY h.id`,
			s.stale().Microseconds(), id)
		if err != nil {
			return err
		}
		var holder string
		var body []byte
		_, err = pgx.ForEachRow(rows, []any{&holder, &body}, func() error {
			if body == nil {
				missing = append(missing, holder)
			} else {
				answers[holder] = body
			}
			return nil
		})
		return err
	})
	return answers, missing, err
}

// Questions are those that m has not answered yet, the oldest first.
func (m *Member) Questions(ctx context.Context) (out []Question, err error) {
	err = m.s.look(ctx, func(c *conn) error {
		rows, err := c.Query(ctx, `SELECT q.id, q.kind, q.body FROM aig_question q WHERE q.asked > now() - $2 * interval '1 microsecond'
			AND NOT EXISTS (SELECT 1 FROM aig_answer a WHERE a.question = q.id AND a.holder = $1) ORDER BY q.id LIMIT 100`, m.id, questionLife.Microseconds())
		if err != nil {
			return err
		}
		out, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Question])
		return err
	})
	return out, err
}

// Answer answers a question of Questions; a second answer changes nothing.
func (m *Member) Answer(ctx context.Context, id int64, body []byte) error {
	if len(body) > maxAnswer {
		return fmt.Errorf("an answer of %d bytes is longer than %d", len(body), maxAnswer)
	}
	return m.s.write(ctx, func(c *conn) error {
		_, err := c.Exec(ctx, `INSERT INTO aig_answer (question, holder, body) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`, id, m.id, append([]byte{}, body...))
		return err
	})
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
