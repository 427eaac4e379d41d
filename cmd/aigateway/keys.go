package main

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// restKey is a key as the REST API writes it.
type restKey struct {
	ID            string   `json:"id,omitzero"`
	Name          string   `json:"name"`
	Scopes        []string `json:"scopes"`
	AllowedTags   []string `json:"allowed_tags"`
	DefaultTag    string   `json:"default_tag"`
	AllowedModels []string `json:"allowed_models"`
	CreateTime    *string  `json:"create_time,omitzero"`
	ExpireTime    *string  `json:"expire_time,omitzero"`
	DefaultMax    int32    `json:"default_max_tokens"`
	DefaultTools  int32    `json:"default_max_tool_calls"`
	MaxWait       *string  `json:"max_wait,omitzero"`
}

type restKeyPage struct {
	Keys          []restKey `json:"keys"`
	NextPageToken string    `json:"next_page_token"`
}

func (p restKeyPage) items() ([]restKey, string) { return p.Keys, p.NextPageToken }

// restNewKey is the one answer that holds a secret.
type restNewKey struct {
	Key    restKey `json:"key"`
	Secret string  `json:"secret"`
}

func newKeysCommand(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "keys", Short: "Make and revoke API keys",
		Long: `A key is what clients send as "Authorization: Bearer sk-aig-…". It may be
limited to scopes, tags and models. These commands need a key with scope admin.`,
		Example: `  aigateway keys create --name ci --tag 'ci/**' --default-tag ci/misc
  aigateway keys list`,
	}
	f := &clientFlags{}
	f.bind(c)
	return group(c, newKeysCreateCommand(a, f), newKeysListCommand(a, f), newKeysGetCommand(a, f), newKeysDeleteCommand(a, f))
}

// keyFlags are the words of `keys create`.
type keyFlags struct {
	name, defaultTag, expires string
	scopes, tags, models      []string
	maxTokens, maxToolCalls   int32
	maxWait                   time.Duration
}

func newKeysCreateCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "create --name NAME", Short: "Make a key and print its secret, once",
		Long: `Makes a key. Its secret goes to standard output and is shown this once: the
gateway keeps only a hash of it.`,
		Example: `  # A key for one team's calls, into a file only you can read
  (umask 077; aigateway keys create --name team-a --tag 'team/a/**' > team-a.key)

  # A key that reads reports and sets budgets, until the end of the year
  aigateway keys create --name finance --scope usage,budgets --expires 2027-01-01`,
		Args: arguments(),
	}
	var k keyFlags
	c.Flags().StringVar(&k.name, "name", "", "`name` for people")
	c.Flags().StringSliceVar(&k.scopes, "scope", []string{"inference"}, "`scopes`, what it may do: inference, usage, budgets, admin")
	c.Flags().StringArrayVar(&k.tags, "tag", nil, "`tag` its calls may carry, or TAG/**; repeat for more (default every tag)")
	c.Flags().StringVar(&k.defaultTag, "default-tag", "", "`tag` of its calls that send none (default untagged)")
	c.Flags().StringArrayVar(&k.models, "model", nil, "`model` it may call, PROVIDER/MODEL or PROVIDER/*; repeat for more (default every model)")
	c.Flags().StringVar(&k.expires, "expires", "", "`time` it stops working: YYYY-MM-DD (UTC) or RFC 3339 (default never)")
	c.Flags().Int32Var(&k.maxTokens, "default-max-tokens", 0, "output cap in `tokens` of its calls that name none (default the model's or provider's)")
	c.Flags().Int32Var(&k.maxToolCalls, "default-max-tool-calls", 0, "uses of the provider's own tools, such as its web search, in `calls` of its that do not limit them (default the provider's)")
	c.Flags().DurationVar(&k.maxWait, "max-wait", 0, "`time` its calls may wait for running ones, such as 2s or 0s (default the gateway's)")
	reason := reasonFlag(c)
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		body, err := k.body(c)
		if err != nil {
			return err
		}
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		query := url.Values{}
		setQuery(query, "reason", *reason)
		var made restNewKey
		if err := cl.call(c.Context(), http.MethodPost, "/v1/keys", query, body, &made); err != nil {
			return err
		}
		return a.printNewKey(out, made)
	}
	return c
}

func (k *keyFlags) body(c *cobra.Command) (map[string]any, error) {
	if k.name == "" {
		return nil, usagef(c.CommandPath(), "--name is missing; name who will use the key")
	}
	body := map[string]any{"name": k.name, "scopes": k.scopes}
	if len(k.tags) > 0 {
		body["allowed_tags"] = k.tags
	}
	if len(k.models) > 0 {
		body["allowed_models"] = k.models
	}
	if k.defaultTag != "" {
		body["default_tag"] = k.defaultTag
	}
	if k.maxTokens != 0 {
		body["default_max_tokens"] = k.maxTokens
	}
	if k.maxToolCalls != 0 {
		body["default_max_tool_calls"] = k.maxToolCalls
	}
	if c.Flags().Changed("max-wait") {
		body["max_wait"] = strconv.FormatFloat(k.maxWait.Seconds(), 'f', -1, 64) + "s"
	}
	if k.expires != "" {
		t, err := parseTime(k.expires)
		if err != nil {
			return nil, usagef(c.CommandPath(), "--expires: %s", err)
		}
		body["expire_time"] = t.Format(time.RFC3339)
	}
	return body, nil
}

func parseTime(s string) (time.Time, error) {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time; write 2027-01-01 or 2027-01-01T09:00:00Z", s)
}

// printNewKey puts the secret alone on standard output, so that it can go
// straight into a file or a variable.
func (a *app) printNewKey(out *format, made restNewKey) error {
	k := made.Key
	a.notef("made %s (%s), scopes %s", cleanCell(k.ID), cleanCell(k.Name), cleanCell(strings.Join(k.Scopes, ", ")))
	a.notef("its secret is shown this once; store it now, only a hash is kept")
	if out.name != "table" {
		t := keyTable(k)
		t.columns, t.rows[0] = append(t.columns, left("SECRET")), append(t.rows[0], made.Secret)
		return a.print(out, made, t)
	}
	if _, err := fmt.Fprintln(a.stdout, cleanCell(made.Secret)); err != nil {
		return fmt.Errorf("write the secret: %w", err)
	}
	return nil
}

func newKeysListCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "list", Short: "List keys, without their secrets",
		Example: "  aigateway keys list",
		Args:    arguments(),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, _ []string) error {
		all, err := askAll[restKeyPage](a, c, f, "/v1/keys", nil)
		if err != nil {
			return err
		}
		return a.print(out, all, keyTable(all...))
	}
	return c
}

func newKeysGetCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "get KEY_ID", Short: "Show one key, without its secret",
		Example: "  aigateway keys get key_3",
		Args:    arguments("the key's id"),
	}
	out := outputFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		path, err := idPath(c, "/v1/keys/", "key_", args[0])
		if err != nil {
			return err
		}
		k, err := ask[restKey](a, c, f, path, nil)
		if err != nil {
			return hintUnknownID(err, "aigateway keys list")
		}
		return a.print(out, k, keyTable(k))
	}
	return c
}

func newKeysDeleteCommand(a *app, f *clientFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "delete KEY_ID", Short: "Revoke a key at once; calls that are running go on",
		Example: "  aigateway keys delete key_3",
		Args:    arguments("the key's id"),
	}
	reason := reasonFlag(c)
	c.RunE = func(c *cobra.Command, args []string) error {
		path, err := idPath(c, "/v1/keys/", "key_", args[0])
		if err != nil {
			return err
		}
		cl, err := a.client(c, f)
		if err != nil {
			return err
		}
		query := url.Values{}
		setQuery(query, "reason", *reason)
		if err := cl.call(c.Context(), http.MethodDelete, path, query, nil, nil); err != nil {
			return hintUnknownID(err, "aigateway keys list")
		}
		a.notef("revoked %s", args[0])
		return nil
	}
	return c
}

func keyTable(keys ...restKey) *table {
	t := &table{
		columns: []column{left("ID"), left("NAME"), left("SCOPES"), left("TAGS"), left("DEFAULT TAG"), left("MODELS"), left("EXPIRES"), left("DEFAULT MAX TOKENS"), left("DEFAULT MAX TOOL CALLS")},
		empty:   "no keys; `aigateway keys create --name NAME` makes one",
	}
	for _, k := range keys {
		t.add(k.ID, k.Name, strings.Join(k.Scopes, ","), orAll(k.AllowedTags, "**"), k.DefaultTag, orAll(k.AllowedModels, "*"), orElse(k.ExpireTime, "never"), orNone(k.DefaultMax), orNone(k.DefaultTools))
	}
	return t
}

// orAll joins a list; an empty one allows everything, shown as its wildcard.
func orAll(list []string, wildcard string) string {
	if len(list) == 0 {
		return wildcard
	}
	return strings.Join(list, ", ")
}
