package fakeprovider

import (
	"bytes"
	"encoding/json"
	"math/big"
	"net/http"
)

// routing is OpenRouter's provider member, as far as it decides the price.
type routing struct {
	MaxPrice struct {
		Prompt     json.RawMessage `json:"prompt"`
		Completion json.RawMessage `json:"completion"`
	} `json:"max_price"`
}

// chooseHost takes the dearest host that the request allows, to show what a call
// can cost at most. Without hosts the model's own price holds.
func (c *call) chooseHost(m members) *refusal {
	hosts := c.server.cfg.Hosts
	if len(hosts) == 0 {
		return nil
	}
	var r routing
	if bad := m.read("provider", &r); bad != nil {
		return bad
	}
	price := c.server.cfg.Models[c.record.Model]
	var best *big.Rat
	for _, h := range hosts {
		f := big.NewRat(h.Num, h.Den)
		if !allows(r.MaxPrice.Prompt, price.Input, f) || !allows(r.MaxPrice.Completion, price.Output, f) {
			continue
		}
		if best == nil || f.Cmp(best) > 0 {
			best, c.host = f, h
		}
	}
	if best == nil {
		return &refusal{http.StatusNotFound, "invalid_request_error", "provider", "", "No endpoints found that can handle the requested parameters."}
	}
	return nil
}

// allows reports whether a limit in dollars per million tokens, a number or one
// in a string, admits a price in pico-USD per token.
func allows(limit json.RawMessage, pico int64, factor *big.Rat) bool {
	text := string(bytes.Trim(limit, `"`))
	if text == "" || text == "null" {
		return true
	}
	most, ok := new(big.Rat).SetString(text)
	if !ok {
		return false
	}
	listed := new(big.Rat).Mul(big.NewRat(pico, 1_000_000), factor)
	return listed.Cmp(most) <= 0
}

// factor is what token prices are multiplied by: those of the tier and the host.
func (c *call) factor() Factor {
	f := c.server.cfg.Tiers[c.tier]
	switch {
	case c.host.Den == 0:
		return f
	case f.Den == 0:
		return c.host
	}
	return Factor{f.Num * c.host.Num, f.Den * c.host.Den}
}
