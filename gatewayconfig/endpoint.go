package gatewayconfig

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"aigateway/pricing"
)

func apiNames() []string {
	var out []string
	for _, a := range pricing.Endpoints() {
		out = append(out, string(a))
	}
	return out
}

func (v *validator) apis(field string, given, preset []string) []API {
	names, field := given, join(field, "apis")
	if names == nil {
		names = preset
	} else if len(names) == 0 {
		v.fail(field, "is empty; list what it has, such as chat and embeddings, or remove it")
	}
	var out []API
	for _, name := range names {
		api := API(name)
		switch {
		case !api.Known():
			v.fail(field, "holds %s, which is no API%s", shown(name), suggest(name, apiNames()))
		case slices.Contains(out, api):
			v.fail(field, "holds %s twice", name)
		default:
			out = append(out, api)
		}
	}
	return out
}

// endpoints fills in the APIs that differ, the file's words over the preset's.
func (v *validator) endpoints(field string, p *Provider, given, preset map[string]fileEndpoint) {
	for _, name := range slices.Sorted(maps.Keys(given)) {
		if !API(name).Known() {
			v.fail(join(field, "endpoints."+name), "is no API%s", suggest(name, apiNames()))
		}
	}
	for _, api := range pricing.Endpoints() {
		f, own := given[string(api)]
		base, known := preset[string(api)]
		if !own && !known {
			continue
		}
		at := join(field, "endpoints."+string(api))
		e := Endpoint{
			Path: first(api.Path(), f.Path, base.Path),
			Auth: Auth{
				Header: strings.ToLower(first(p.Auth.Header, f.AuthHeader, base.AuthHeader)),
				Prefix: first(p.Auth.Prefix, f.AuthPrefix, base.AuthPrefix),
			},
		}
		if !validPath(e.Path) {
			v.fail(join(at, "path"), "is %s; write what stands behind base_url, such as %s", shown(e.Path), api.Path())
		}
		v.checkAuth(at, p, e.Auth)
		if p.Endpoints == nil {
			p.Endpoints = map[API]Endpoint{}
		}
		p.Endpoints[api] = e
	}
}

// validPath accepts what may follow a base URL: /../ takes the last part of its
// path away, for APIs that are beside the others.
func validPath(p string) bool {
	p = strings.TrimPrefix(p, "/..")
	return strings.HasPrefix(p, "/") && len(p) <= 200 && !strings.HasSuffix(p, "/") && !strings.Contains(p, "//") && !strings.Contains(p, "/.") &&
		!strings.ContainsAny(p, "%\\?#") && printable(p)
}

// betas are values of anthropic-beta: they are joined by commas in a header.
// Without any given, they are the listed ones where the preset says so.
func (v *validator) betas(field string, given []string, listed bool) []string {
	if given == nil && listed {
		betas, err := allowedBetas()
		if err != nil {
			v.fail(field, "%v", err)
		}
		return betas
	}
	for i, b := range given {
		if strings.Trim(b, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || b == "" || len(b) > 100 {
			v.fail(field+"["+strconv.Itoa(i)+"]", "is %s; write the name of one beta, such as interleaved-thinking-2025-05-14", shown(b))
		}
	}
	return given
}
