package adminapi

import (
	"slices"
	"strings"
)

// Routes lists what REST serves below /v1, as "GET /v1/budgets", sorted.
func Routes() []string {
	routes, err := routesOf()
	if err != nil {
		return []string{err.Error()}
	}
	var out []string
	for _, r := range routes {
		out = append(out, r.method+" /"+strings.Join(r.path, "/"))
	}
	slices.Sort(out)
	return out
}

// Doors to pure functions.
var (
	CheckBody  = checkBody
	Covers     = covers
	Selections = selections
	ScopesOf   = scopesOf
	ErrorOf    = errorOf
	Status     = statusOf
)

// ServiceNames lists our gRPC services.
func ServiceNames() []string { return serviceNames() }
