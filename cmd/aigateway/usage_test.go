package main

import (
	"strings"
	"testing"
)

func TestUsageByTag(t *testing.T) {
	f := &fakeREST{answer: `[{"tag":"summarize","requests":8210,"cost_cents":4210},{"tag":"größe/a","requests":1,"cost_cents":1}]`}
	env := f.start(t)
	for _, format := range []string{"table", "json", "yaml", "csv"} {
		r := runCLI(t, env, "usage", "--month", "2026-04", "-o", format)
		if r.code != 0 || r.stderr != "" {
			t.Fatalf("%s: %+v", format, r)
		}
		golden(t, "usage."+format+".golden", r.stdout)
	}
	if f.uri != "/v1/usage/by-tag?month=2026-04" {
		t.Errorf("asked %s", f.uri)
	}
	runCLI(t, env, "usage", "--tag", "a b")
	if f.uri != "/v1/usage/by-tag?tag=a+b" {
		t.Errorf("asked %s", f.uri)
	}
	runCLI(t, env, "usage", "--limit", "20")
	if f.uri != "/v1/usage/by-tag?limit=20" {
		t.Errorf("asked %s", f.uri)
	}
	if r := runCLI(t, env, "usage", "--limit", "0"); r.code != 2 || !strings.Contains(r.stderr, "--limit") {
		t.Errorf("%+v", r)
	}
	f.answer = "[" + strings.Repeat(`{"tag":"`+strings.Repeat("a", 250)+`","requests":1,"cost_cents":1},`, 300_000) + `{"tag":"b","requests":1,"cost_cents":1}]`
	if r := runCLI(t, env, "usage", "-o", "csv"); r.code != 0 || strings.Count(r.stdout, "\n") != 300_002 {
		t.Errorf("many tags: code %d, %d lines, %.300s", r.code, strings.Count(r.stdout, "\n"), r.stderr)
	}
	f.answer = "[]"
	if r := runCLI(t, env, "usage"); r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "no calls") {
		t.Errorf("%+v", r)
	}
}

const usageJSON = `{"from":"2026-04-01T00:00:00Z","to":"2026-04-08T00:00:00Z","time_zone":"UTC","group_by":["tag","day"],"rows":[
{"tag":"summarize","time":"2026-04-01T00:00:00Z","requests":10,"unpriced_requests":0,"cost_cents":33,"cost_usd":"0.3225","input_tokens":1000,"cache_read_tokens":5,"cache_write_tokens":0,"output_tokens":200,"estimated_requests":1,"estimated_cost_usd":"0.10"},
{"tag":"t","time":"2026-04-02T00:00:00Z","requests":2,"unpriced_requests":2,"cost_cents":0,"cost_usd":"0.00","input_tokens":0,"cache_read_tokens":0,"cache_write_tokens":0,"output_tokens":0,"estimated_requests":0,"estimated_cost_usd":"0.00"}],
"total":{"requests":12,"unpriced_requests":2,"cost_cents":33,"cost_usd":"0.3225","input_tokens":1000,"cache_read_tokens":5,"cache_write_tokens":0,"output_tokens":200,"estimated_requests":1,"estimated_cost_usd":"0.10"}}`

func TestUsageQuery(t *testing.T) {
	f := &fakeREST{answer: usageJSON}
	env := f.start(t)
	for _, format := range []string{"table", "json", "csv"} {
		r := runCLI(t, env, "usage", "query", "--by", "tag,day", "--from", "2026-04-01", "--to", "2026-04-08", "-o", format)
		if r.code != 0 {
			t.Fatalf("%s: %+v", format, r)
		}
		golden(t, "usage_query."+format+".golden", r.stdout)
		if note := strings.Contains(r.stderr, "2026-04-01T00:00:00Z to 2026-04-08T00:00:00Z, UTC"); note != (format == "table") {
			t.Errorf("%s: stderr %q", format, r.stderr)
		}
	}
	runCLI(t, env, "usage", "query", "--by", "key", "--by", "hour", "--tag", "a", "--model", "openai/x", "--provider", "openai", "--key", "key_1", "--time-zone", "Europe/Berlin")
	want := "/v1/usage?group_by=key%2Chour&key_id=key_1&model=openai%2Fx&provider=openai&tag=a&time_zone=Europe%2FBerlin"
	if f.uri != want {
		t.Errorf("asked %s\nwant  %s", f.uri, want)
	}
}

func TestUsageQueryEmpty(t *testing.T) {
	f := &fakeREST{answer: `{"from":"2026-04-01T00:00:00Z","to":"2026-04-08T00:00:00Z","time_zone":"UTC","group_by":[],"rows":[],"total":null}`}
	r := runCLI(t, f.start(t), "usage", "query")
	if r.code != 0 || r.stdout != "" || !strings.Contains(r.stderr, "no calls reached a provider from 2026-04-01") {
		t.Errorf("%+v", r)
	}
}

func TestReservationsList(t *testing.T) {
	f := &fakeREST{answer: `{"reservations":[{"id":"42","request_id":"0b1c","key_id":"key_3","tag":"summarize","model":"moonshot/kimi-k2.6","provider":"moonshot",
"bound":"0.3225","reserve_time":"2026-04-01T10:00:00Z","expire_time":"2026-04-01T10:05:00Z","budgets":["bud_1","bud_7"]}]}`}
	env := f.start(t)
	for _, format := range []string{"table", "csv"} {
		r := runCLI(t, env, "reservations", "list", "-o", format, "--limit", "7")
		if r.code != 0 || f.uri != "/v1/reservations?page_size=7" {
			t.Fatalf("%s: asked %s; %+v", format, f.uri, r)
		}
		golden(t, "reservations."+format+".golden", r.stdout)
	}
	f.answer = `{"reservations":[]}`
	if r := runCLI(t, env, "reservations", "list"); r.code != 0 || !strings.Contains(r.stderr, "no open reservations") {
		t.Errorf("%+v", r)
	}
}
