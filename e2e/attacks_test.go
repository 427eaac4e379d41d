package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
)

// nasty are JSON values, and near misses, where another type belongs.
var nasty = []string{
	"-1", "0", "-0", "1e309", "1e3", "1.5", "1000.0", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
	`"1"`, `""`, "null", "true", "[]", "{}", "[[]]", `[null]`, `{"a":1}`, "NaN", "Infinity", "0x10", "01", "+1", ".5", "1.",
	`"\ud800"`, `"\u0000"`, "\"\xff\"", "'a'", "undefined", `"` + strings.Repeat("a", 5000) + `"`, strings.Repeat("9", 400),
	strings.Repeat("[", 200) + strings.Repeat("]", 200), strings.Repeat(`{"a":`, 9999) + "1" + strings.Repeat("}", 9999),
	strings.Repeat("[", 20000),
}

// membersOf are names whose values decide something, here or at the provider.
var membersOf = []string{
	"model", "messages", "max_tokens", "max_completion_tokens", "stream", "stream_options", "n", "user", "tools", "service_tier",
	"web_search_options", "prediction", "audio", "modalities", "response_format", "metadata", "plugins", "models", "previous_response_id",
}

// bodyAttacks are n request bodies: every nasty value in every member that
// decides something, shapes that parsers disagree about, and random damage.
func bodyAttacks(n int) []attack {
	good := chatBody("fake/m1", "hostile", "hello", `,"max_tokens":50,"stream":false`)
	var all []attack
	add := func(name, body string) { all = append(all, postAttack(body, "body: %s", name)) }
	for name, body := range map[string]string{
		"empty": "", "blank": " \n ", "not JSON": "hello", "array": "[" + good + "]", "string": `"x"`, "null": "null", "number": "1",
		"two values": good + good, "trailing comma": strings.TrimSuffix(good, "}") + ",}", "trailing junk": good + "x",
		"BOM": "\ufeff" + good, "NUL at the end": good + "\x00", "comment": "/* a */" + good, "single quotes": strings.ReplaceAll(good, `"`, "'"),
		"cap twice, small first":   strings.Replace(good, `"max_tokens":50`, `"max_tokens":1,"max_tokens":100000`, 1),
		"cap in another case":      strings.Replace(good, `"max_tokens":50`, `"max_tokens":1,"Max_Tokens":100000`, 1),
		"cap escaped":              strings.Replace(good, `"max_tokens":50`, `"max\u005ftokens":100000,"max_tokens":1`, 1),
		"model twice":              strings.Replace(good, `"model":`, `"model":"fake/free","model":`, 1),
		"model escaped":            strings.Replace(good, `"fake/m1"`, `"fake\/m\u0031"`, 1),
		"model escaped twice":      strings.Replace(good, `"model":`, `"mod\u0065l":"fake/free","model":`, 1),
		"deep duplicate":           strings.Replace(good, `"content"`, `"content":"x","content"`, 1),
		"stream twice":             strings.Replace(good, `"stream":false`, `"stream":false,"stream":true`, 1),
		"options without stream":   strings.Replace(good, `"stream":false`, `"stream_options":{"include_usage":true}`, 1),
		"options twice":            strings.Replace(good, `"stream":false`, `"stream":true,"stream_options":{"include_usage":true,"include_usage":false}`, 1),
		"both caps":                strings.Replace(good, `"max_tokens":50`, `"max_tokens":1,"max_completion_tokens":60`, 1),
		"n and cap at their limit": strings.Replace(good, `"max_tokens":50`, `"max_tokens":10000000,"n":128`, 1),
		"overlong UTF-8":           strings.Replace(good, "hello", "\xc0\xaf", 1),
		"UTF-16":                   "\xff\xfe{\x00}\x00",
		"lone surrogate in a key":  strings.Replace(good, `"user"`, `"\ud800"`, 1),
		"a large string":           strings.Replace(good, "hello", strings.Repeat("x", 2<<20), 1),
		"many members":             "{" + strings.Repeat(`"a":1,`, 50_000) + good[1:],
		"too large":                strings.Replace(good, "hello", strings.Repeat("x", 9<<20), 1),
		"unknown provider":         strings.Replace(good, "fake/", "nobody/", 1),
		"no provider":              strings.Replace(good, "fake/", "", 1),
		"slug of slashes":          strings.Replace(good, "fake/m1", "////", 1),
		"provider with dots":       strings.Replace(good, "fake/m1", "../m1", 1),
		"model with a line break":  strings.Replace(good, "fake/m1", `fake/m1\r\nx-evil: 1`, 1),
		"model of another upper":   strings.Replace(good, "fake/m1", "FAKE/M1", 1),
		"hosted tool":              strings.Replace(good, `"stream":false`, `"tools":[{"type":"web_search"}]`, 1),
		"tool without type":        strings.Replace(good, `"stream":false`, `"tools":[{}]`, 1),
		"image":                    strings.Replace(good, `"hello"`, `[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]`, 1),
		"file by id":               strings.Replace(good, `"hello"`, `[{"type":"file","file":{"file_id":"f"}}]`, 1),
		"unknown part":             strings.Replace(good, `"hello"`, `[{"type":"hologram","hologram":{}}]`, 1),
	} {
		add(name, body)
	}
	for _, member := range membersOf {
		for _, value := range nasty {
			if len(value) > 300 && member != "max_tokens" && member != "messages" {
				continue
			}
			body := fmt.Sprintf(`{"model":"fake/m1","user":"hostile","max_tokens":50,"messages":[{"role":"user","content":"hi"}],%q:%s}`, member, value)
			if strings.Count(body, `"`+member+`":`) > 1 { // put it where the good one was
				body = strings.Replace(good, `"`+member+`":`+valueOf(good, member), `"`+member+`":`+value, 1)
			}
			add(fmt.Sprintf("%s: %.30s", member, value), body)
		}
	}
	all = thin(all, n-100)
	rnd := rand.New(rand.NewPCG(3, 5))
	for i := len(all); i < n; i++ {
		add(fmt.Sprintf("damage %d", i), damage(rnd, good))
	}
	return all
}

// valueOf is the raw value of a top-level member of the good body.
func valueOf(body, member string) string {
	_, rest, _ := strings.Cut(body, `"`+member+`":`)
	depth := 0
	for i, c := range rest {
		switch c {
		case '{', '[':
			depth++
		case '}', ']':
			depth--
		}
		if depth < 0 || depth == 0 && c == ',' {
			return rest[:i]
		}
	}
	return rest
}

// thin keeps at most n attacks, evenly spread.
func thin(all []attack, n int) []attack {
	if len(all) <= n {
		return all
	}
	kept := make([]attack, 0, n)
	for i := range n {
		kept = append(kept, all[i*len(all)/n])
	}
	return kept
}

// damage makes one to four random edits to a body.
func damage(rnd *rand.Rand, body string) string {
	b := []byte(body)
	for range 1 + rnd.IntN(4) {
		i := rnd.IntN(len(b))
		switch rnd.IntN(5) {
		case 0:
			b[i] ^= 1 << rnd.IntN(8)
		case 1:
			b = append(b[:i], b[i+1:]...)
		case 2:
			b = append(b[:i], append([]byte{byte(rnd.IntN(256))}, b[i:]...)...)
		case 3:
			b = b[:i+1]
		case 4:
			j := rnd.IntN(len(b))
			b = append(b, b[min(i, j):max(i, j)]...)
		}
	}
	return string(b)
}

// headerAttacks are honest bodies under dishonest headers.
func headerAttacks() []attack {
	body := chatBody("fake/m1", "hostile", "hello", `,"max_tokens":50`)
	var all []attack
	add := func(name, value string, more ...string) {
		h := tagged("hostile")
		h[http.CanonicalHeaderKey(name)] = append([]string{value}, more...)
		all = append(all, attackf(func(g *gateway) reply {
			return g.insist(http.MethodPost, g.url+"/v1/chat/completions", body, h)
		}, "header: %s: %.40q %v", name, value, more))
	}
	for _, tag := range []string{
		"", " ", strings.Repeat("a", 65), strings.Repeat("a", 5000), "**", "*", "a/**", "/", "//", "a//b", "..", "a,b", `"`, "%00", "é", "日本",
		"\xff", "\xc3", "a\u200bb", "\u202e", "a\u00a0b", "'; DROP TABLE hold; --", "${jndi:ldap://x}", "<script>", "untagged", "😀",
	} {
		add("x-aig-tag", tag)
	}
	add("x-aig-tag", "a", "b")
	add("x-aig-tag", "hostile", "hostile")
	for _, kind := range []string{"", "text/plain", "application/json; charset=utf-16", "application/json;", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", "APPLICATION/JSON", "application/json, text/plain", "application/vnd.api+json", ";;;"} {
		add("content-type", kind)
	}
	add("content-type", "application/json", "text/plain")
	for _, coding := range []string{"gzip", "br", "identity", "deflate, gzip", "zstd", "", "GZIP", "x"} {
		add("content-encoding", coding)
	}
	for _, auth := range []string{"", "Bearer", "Bearer ", "bearer " + adminKey, "Bearer  " + adminKey, "Basic " + adminKey, adminKey, "Bearer sk-aig-", "Bearer sk-aig-" + strings.Repeat("a", 6000), "Bearer sk-aig-\xff", "Bearer null", "Bearer " + adminKey + " x", "Bearer " + adminKey + ","} {
		add("authorization", auth)
	}
	add("authorization", "Bearer "+adminKey, "Bearer "+adminKey)
	for _, name := range []string{
		"x-aig-int-upstream", "x-aig-int-edit", "x-aig-int-anything", "x-aig-request-id", "x-aig-bound-usd", "x-request-id", "x-envoy-original-path",
		"x-envoy-upstream-rq-timeout-ms", "x-envoy-retry-on", "x-envoy-max-retries", "x-envoy-force-trace", "x-envoy-internal", "x-envoy-decorator-operation",
		"x-envoy-expected-rq-timeout-ms", "x-envoy-attempt-count", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "x-original-url",
		"x-rewrite-url", "x-http-method-override", "te", "accept-encoding", "accept", "range", "if-match", "cookie", "api-key", "x-api-key", "openai-organization", "x-should-retry", "via", "forwarded", "proxy-authorization", "x-b3-traceid", "traceparent", "grpc-timeout",
	} {
		for _, value := range []string{"dead", "1", "http://evil.test/", strings.Repeat("z", 3000)} {
			if len(value) < 100 || strings.HasPrefix(name, "x-aig") {
				add(name, value)
			}
		}
	}
	for _, method := range []string{"GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"} {
		for _, path := range []string{"/v1/chat/completions", "/v1/embeddings", "/v1/completions", "/v1/responses", "/v1/messages", "/", "/v2", "/_fake/bill", "/metrics", "/readyz/../v1/keys", "/clusters"} {
			all = append(all, attackf(func(g *gateway) reply {
				r := g.try(method, g.url+path, "", nil)
				if r.header != nil {
					r.header.Set("X-Was", method)
				}
				return r
			}, "method: %s %s", method, path))
		}
	}
	return all
}

// restAttacks are n requests to the REST door.
func restAttacks(n int) []attack {
	var all []attack
	add := func(method, path, body string) {
		all = append(all, attackf(func(g *gateway) reply {
			return g.insist(method, g.url+path, body, nil)
		}, "rest: %s %.80q %.60q", method, path, body))
	}
	for _, member := range []string{"tag", "monthly_cap_cents", "daily_cap_cents", "key_id", "time_zone", "id", "spent", "etag", "nonsense", "window_start", "cap_cents"} {
		for _, value := range nasty {
			if len(value) <= 500 || member == "tag" {
				add("POST", "/v1/budgets", fmt.Sprintf(`{"tag":"hostile/x","weekly_cap_cents":100000,%q:%s}`, member, value))
			}
		}
	}
	for _, body := range []string{"", "{}", "[]", "null", "{", "x", `{"tag":"a"}`, `{"monthly_cap_cents":5}`, `{"tag":"a","monthly_cap_cents":1}{}`, `{"tag":"a","tag":"b","monthly_cap_cents":1}`, `{"tag":"a","monthly_cap_cents":1,"weekly_cap_cents":1}`, `{"tag":"a/**/b","monthly_cap_cents":1}`, `{"tag":"` + strings.Repeat("a", 65) + `","monthly_cap_cents":1}`, `{"Tag":"a","monthly_cap_cents":1}`, `{"tag":"a","monthlyCapCents":1}`, `{"tag":"a","monthly_cap_cents":1.0}`, strings.Repeat("[", 100_000), `{"tag":"` + strings.Repeat("a", 3<<20) + `"}`} {
		add("POST", "/v1/budgets", body)
		add("POST", "/v1/keys", body)
		add("PATCH", "/v1/budgets/bud_nobody", body)
	}
	for _, scope := range nasty {
		if len(scope) <= 500 {
			add("POST", "/v1/keys", `{"name":"x","scopes":`+scope+`}`)
			add("POST", "/v1/keys", `{"scopes":["usage"],"name":`+scope+`}`)
		}
	}
	values := []string{"", " ", "x", "-1", "0", "1e9", "99999999999999999999", "2026-13", "2026-00", "2026-4", "0000-01", "9999-12", "10000-01", "2026-04-01", "%00", "%ff", "a/**", "**", strings.Repeat("a", 3000), "'", "../..", "Local", "Europe/Nowhere", "now"}
	for _, path := range []string{"/v1/usage/by-tag?month=", "/v1/usage/by-tag?tag=", "/v1/usage/by-tag?mont=", "/v1/usage?from=", "/v1/usage?to=", "/v1/usage?group_by=", "/v1/usage?time_zone=", "/v1/usage?format=", "/v1/budgets?page_size=", "/v1/budgets?page_token=", "/v1/keys?page_token=", "/v1/reservations?page_size=", "/v1/budgets/", "/v1/keys/"} {
		for _, v := range values {
			v = strings.ReplaceAll(v, " ", "%20")
			add("GET", path+v, "")
			if strings.HasSuffix(path, "/") && v != "" {
				add("DELETE", path+v, "")
			}
		}
	}
	add("GET", "/v1/usage?from=2026-05-01&to=2026-04-01", "")
	add("GET", "/v1/usage?from=0001-01-01&to=9999-12-31&group_by=hour,tag,model,key,provider", "")
	add("GET", "/v1/usage?group_by=day&group_by=hour", "")
	return thin(all, n)
}
