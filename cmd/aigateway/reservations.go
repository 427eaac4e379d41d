package main

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"aigateway/budget"
)

// restReservation is an open reservation as the REST API writes it.
type restReservation struct {
	ID          string   `json:"id"`
	RequestID   string   `json:"request_id"`
	KeyID       string   `json:"key_id"`
	Tag         string   `json:"tag"`
	Model       string   `json:"model"`
	Provider    string   `json:"provider"`
	Bound       string   `json:"bound"`
	ReserveTime *string  `json:"reserve_time,omitzero"`
	ExpireTime  *string  `json:"expire_time,omitzero"`
	Budgets     []string `json:"budgets"`
	Replica     string   `json:"replica,omitzero"`
}

type restReservations struct {
	Reservations []restReservation `json:"reservations"`
	Unreachable  []string          `json:"unreachable,omitzero"`
}

const maxReservations = 1000

func newReservationsCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "reservations", Short: "Show what running calls have set aside",
		Example: "  aigateway reservations list",
	}
	f := &clientFlags{}
	f.bind(c)
	return group(c, newReservationsListCommand(a, f))
}

func newReservationsListCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List open reservations, oldest first",
		Long: `Lists calls that were admitted and have not settled. At its expiry a
reservation whose fate is unknown is charged in full; a running stream moves its
expiry on.`,
		Example: `  aigateway reservations list
  aigateway reservations list --limit 1000 -o csv`,
		Args: arguments(),
	}
	limit := c.Flags().Int("limit", 100, "`number` to list at most, 1-1000")
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		if *limit < 1 || *limit > maxReservations {
			return usagef(c.CommandPath(), "--limit is %d; use 1 to %d", *limit, maxReservations)
		}
		query := url.Values{"page_size": {strconv.Itoa(*limit)}}
		answer, err := ask[restReservations](a, c, f, "/v1/reservations", query)
		if err != nil {
			return err
		}
		a.noteUnreachable(answer.Unreachable)
		return a.print(out, answer.Reservations, reservationTable(answer.Reservations))
	}
	return c
}

// noteUnreachable says whose part is missing in an answer of several gateways.
func (a *app) noteUnreachable(ids []string) {
	switch {
	case len(ids) == 0:
	case slices.Contains(ids, budget.StoreName):
		a.notef("incomplete: the store could not be asked, so this is of the asked gateway alone")
	default:
		a.notef("incomplete: without what these gateways know, which did not answer: %s", cleanCell(strings.Join(ids, " ")))
	}
}

// noteAsOf says up to when a report of several gateways is complete, and whose fault it
// is that it is not up to now.
func (a *app) noteAsOf(asOf string, behind []string) {
	switch {
	case len(behind) > 0:
		a.notef("incomplete since %s: these gateways have told nothing for a while: %s", cleanCell(asOf), cleanCell(strings.Join(behind, " ")))
	case asOf != "":
		a.notef("as of %s", cleanCell(asOf))
	}
}

func reservationTable(rows []restReservation) *table {
	t := &table{
		columns: []column{left("ID"), left("TAG"), left("MODEL"), left("KEY ID"), money("BOUND USD"), left("BUDGETS"), left("RESERVED AT"), left("EXPIRES AT"), left("REQUEST ID")},
		empty:   "no open reservations",
	}
	for _, r := range rows {
		t.add(r.ID, r.Tag, r.Model, r.KeyID, r.Bound, strings.Join(r.Budgets, " "), orElse(r.ReserveTime, ""), orElse(r.ExpireTime, ""), r.RequestID)
	}
	return t
}
