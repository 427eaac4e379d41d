package pricing_test

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"image"
	_ "image/gif"
	_ "image/jpeg"
	_ "image/png"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"aigateway/pricing"

	"golang.org/x/text/unicode/norm"
)

func (c *oracleCall) openRouter() bool {
	return c.up.Provider == "openrouter" || c.up.Dialect == pricing.DialectOpenRouter
}

// text is a string member; absent and null are empty.
func (c *oracleCall) text(name string) string {
	s, _ := c.m[name].(string)
	return s
}

// number is an integer member; ok is false for an absent one and for null.
func (c *oracleCall) number(name string) (n int64, ok bool) {
	v, ok := c.m[name].(json.Number)
	if !ok {
		return 0, false
	}
	r, ok := new(big.Rat).SetString(v.String())
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return 0, false
	}
	return r.Num().Int64(), v.String()[0] != '-' || r.Sign() != 0
}

func (c *oracleCall) list(name string) []any {
	l, _ := c.m[name].([]any)
	return l
}

// limit is one of the row's limits in tokens; 0 is unknown.
func (c *oracleCall) limit(name string) int64 {
	limits, _ := c.row["limits"].(map[string]any)
	n, _ := limits[name].(int)
	return int64(n)
}

func (c *oracleCall) generates() bool {
	return c.endpoint != pricing.Embeddings && c.endpoint != pricing.Rerank && !media(c.endpoint)
}

// checkShape refuses what is wrong whatever the model.
func (c *oracleCall) checkShape() {
	wrong := func(bad bool) {
		if bad {
			panic(refused("field_invalid"))
		}
	}
	caps := map[pricing.Endpoint][]string{
		pricing.Chat: {"max_tokens", "max_completion_tokens"}, pricing.Completions: {"max_tokens", "max_completion_tokens"},
		pricing.Responses: {"max_output_tokens"}, pricing.Messages: {"max_tokens"},
	}
	ranges := map[string][2]int64{"n": {1, 128}, "best_of": {1, 128}}
	for _, name := range caps[c.endpoint] {
		ranges[name] = [2]int64{1, 10_000_000}
		if c.endpoint == pricing.Messages {
			ranges[name] = [2]int64{0, 10_000_000}
		}
	}
	if c.endpoint == pricing.Responses {
		ranges["max_tool_calls"] = [2]int64{0, 1000}
	}
	if c.endpoint == pricing.Rerank {
		ranges["max_tokens_per_doc"] = [2]int64{1, 10_000_000}
	}
	for name, r := range ranges {
		if !c.generates() && (name == "n" || name == "best_of") {
			continue
		}
		if v, there := c.m[name]; there && v != nil {
			n, ok := c.number(name)
			wrong(!ok || n < r[0] || n > r[1])
		}
	}
	c.checkMedia()
	if c.endpoint == pricing.Messages && c.m["max_tokens"] == nil {
		panic(refused("max_tokens_required"))
	}
	if c.text("model") == "" {
		panic(refused("model_missing"))
	}
}

// refusedMembers are the top-level members without a bound.
var refusedMembers = map[string]string{
	"conversation": "unbounded_input", "previous_response_id": "unbounded_input",
	"background": "unsupported_feature", "moderation": "unsupported_feature", "fallbacks": "unsupported_feature",
	"models": "unsupported_feature", "plugins": "unsupported_feature",
	"web_search_options": "unbounded_tool", "mcp_servers": "unbounded_tool", "container": "unbounded_tool",
}

func (c *oracleCall) refuseUnbounded() {
	for name, reason := range refusedMembers {
		v, there := c.m[name]
		stored := c.endpoint == pricing.Responses && reason == "unbounded_input" || c.drawing() && (name == "background" || name == "moderation")
		if there && v != nil && v != false && !stored {
			panic(refused(reason))
		}
	}
	if c.m["context_management"] != nil {
		edits, _ := c.m["context_management"].(map[string]any)
		list, ok := edits["edits"].([]any)
		for _, e := range list {
			kind, _ := e.(map[string]any)["type"].(string)
			ok = ok && strings.HasPrefix(kind, "clear_")
		}
		if !ok || c.endpoint != pricing.Messages && c.endpoint != pricing.Responses {
			panic(refused("unsupported_feature"))
		}
	}
	if c.unboundedPictures() || c.hearing() {
		panic(refused("unbounded_media"))
	}
	everyMember(c.m, func(name string, v any) {
		switch name {
		case "file_id":
			if c.endpoint != pricing.Messages { // there it is a document
				panic(refused("unbounded_media"))
			}
		case "video_url", "file_url":
			panic(refused("unbounded_media"))
		}
	})
	if c.m["provider"] != nil && !c.openRouter() {
		panic(refused("unsupported_feature"))
	}
	if c.openRouter() && (strings.HasSuffix(c.slug, ":online") || strings.HasSuffix(c.slug, "/auto")) {
		panic(refused("unsupported_feature"))
	}
	asked, _ := c.m["stream_options"].(map[string]any)
	if c.up.StreamUsage == pricing.StreamUsageRequire && c.m["stream"] == true && asked["include_usage"] != true &&
		(c.endpoint == pricing.Chat || c.endpoint == pricing.Completions) {
		panic(refused("stream_usage_required"))
	}
	if c.template() && !c.up.AllowStoredInput {
		panic(refused("unbounded_input"))
	}
	if c.count("pdfs")+c.count("pages") > 0 && !c.up.AllowPDF && c.row["pdf_page_tokens"] == nil {
		panic(refused("unbounded_media"))
	}
	if only, ok := c.row["endpoints"].([]any); ok && !slices.Contains(only, any(string(c.endpoint))) {
		panic(refused("unsupported_feature"))
	}
}

// template reports whether the body names a stored prompt.
func (c *oracleCall) template() bool {
	_, object := c.m["prompt"].(map[string]any)
	return object && c.endpoint == pricing.Responses
}

// stored reports whether input is kept at the provider.
func (c *oracleCall) stored() bool {
	if c.endpoint != pricing.Responses {
		return false
	}
	return c.template() || c.m["previous_response_id"] != nil || c.m["conversation"] != nil || slices.ContainsFunc(c.list("input"), namesOnly)
}

func (c *oracleCall) hidden() bool {
	return c.stored() || c.count("pdfs") > 0 || c.count("pages") > 0 && c.row["pdf_page_tokens"] == nil
}

// namesOnly reports whether an item has an id and not the member that holds all
// there is to it.
func namesOnly(v any) bool {
	item := v.(map[string]any)
	kind, _ := item["type"].(string)
	holds := map[string]string{"": "content", "message": "content", "reasoning": "encrypted_content", "function_call": "arguments", "function_call_output": "output"}[kind]
	switch held := item[holds].(type) {
	case string:
		return item["id"] != nil && held == ""
	case []any:
		return item["id"] != nil && len(held) == 0
	}
	return item["id"] != nil
}

// outputCap is the cap of one choice, and whether the body has it.
func (c *oracleCall) outputCap() (limit int64, capped bool) {
	if !c.generates() {
		return 0, false
	}
	names := []string{"max_tokens"}
	switch c.endpoint {
	case pricing.Responses:
		names = []string{"max_output_tokens"}
	case pricing.Chat:
		names = []string{"max_tokens", "max_completion_tokens"}
		if len(c.up.Honours) > 0 {
			names = slices.DeleteFunc(names, func(n string) bool { return !slices.Contains(c.up.Honours, n) })
		}
	}
	found := false
	for _, name := range names {
		if n, ok := c.number(name); ok {
			limit, found = max(limit, n), true
		}
	}
	switch {
	case found:
		return limit, true
	case c.up.CapField != pricing.CapFieldNone:
		return c.defaultCap(), false
	case c.limit("max_output") > 0:
		return c.limit("max_output"), false
	}
	panic(refused("max_output_unknown"))
}

func (c *oracleCall) defaultCap() int64 {
	limit := int64(32_768)
	if c.endpoint == pricing.Completions {
		limit = 16
	}
	for _, n := range []int64{c.up.DefaultMaxTokens, c.limit("default_output")} {
		if n > 0 {
			limit = n
		}
	}
	if most := c.limit("max_output"); most > 0 {
		limit = min(limit, most)
	}
	if context := c.limit("context"); context > 0 { // input and cap must fit together
		limit = min(limit, context-(int64(len(c.body))-c.count("payload"))/3)
	}
	return max(limit, 1)
}

func (c *oracleCall) choices() int64 {
	if !c.generates() {
		return 0
	}
	n, of := int64(1), int64(1)
	if v, ok := c.number("n"); ok {
		n = v
	}
	if v, ok := c.number("best_of"); ok {
		of = v
	}
	return max(n, of) * c.prompts()
}

// prompts is how many a legacy completion has.
func (c *oracleCall) prompts() int64 {
	if c.endpoint != pricing.Completions {
		return 1
	}
	items, _, _ := items(c.m["prompt"])
	return max(items, 1)
}

// items counts inputs: a text, token ids, or an array of either.
func items(v any) (n, ids int64, tokens bool) {
	list, ok := v.([]any)
	if !ok {
		if v == nil {
			return 0, 0, false
		}
		return 1, 0, false
	}
	for _, e := range list {
		switch e := e.(type) {
		case json.Number:
			n, ids, tokens = 1, ids+1, true
		case []any:
			n, ids, tokens = n+1, ids+int64(len(e)), true
		default:
			n++
		}
	}
	return n, ids, tokens
}

// inputTokens is the most of one hop, and how many hops there are.
func (c *oracleCall) inputTokens() (in, hops int64) {
	in = c.textTokens() + c.mediaTokens()
	if c.hidden() {
		if c.limit("context") == 0 {
			if c.stored() {
				panic(refused("unbounded_input"))
			}
			panic(refused("unbounded_media"))
		}
		in = max(in, c.limit("context"))
	}
	most := c.limit("context") * c.prompts()
	switch c.endpoint {
	case pricing.Embeddings:
		n, _, _ := items(c.m["input"])
		most *= max(n, 1)
	case pricing.Rerank:
		most *= int64(len(c.list("documents")))
	}
	if batch := c.limit("max_batch"); !c.generates() && batch > 0 && (most == 0 || batch < most) {
		most = batch
	}
	if most > 0 {
		in = min(in, most)
	}
	return in, 1 + c.toolUses()
}

// rounds is the input of all hops but the first, each as long as the one before,
// with what a tool brought, up to the context.
func (c *oracleCall) rounds(first, hops, limit int64) (sum int64) {
	grow := int64(0)
	for _, t := range c.hostedTools() {
		n := c.limit("context")
		if w := c.rowInt("web_search_tokens"); t.fee == "web_search" && w > 0 {
			n = min(n, w)
		}
		grow = max(grow, n)
	}
	in := first + limit
	for range hops - 1 {
		in = min(in+grow, c.limit("context"))
		sum += in
	}
	return sum
}

func (c *oracleCall) rowInt(name string) int64 {
	n, _ := c.row[name].(int)
	return int64(n)
}

// perByte is tokens for so many bytes, rounded up.
func (c *oracleCall) perByte(n int64) int64 {
	r := new(big.Rat).Mul(rat(n), decimal(c.row["tokens_per_byte"]))
	up := new(big.Int).Add(r.Num(), new(big.Int).Sub(r.Denom(), big.NewInt(1)))
	return up.Div(up, r.Denom()).Int64()
}

// textTokens are a token per byte of the body, and what is not in it.
func (c *oracleCall) textTokens() int64 {
	overhead := c.overhead()
	switch c.endpoint {
	case pricing.Rerank:
		return c.rankTokens()
	case pricing.Embeddings:
		if n, ids, tokens := items(c.m["input"]); tokens {
			return ids + 2*n + overhead
		}
	case pricing.Completions:
		if n, ids, tokens := items(c.m["prompt"]); tokens {
			rest := bytes.Replace(c.body, c.raw["prompt"], nil, 1)
			return ids + 2*n + c.perByte(int64(len(rest))+c.grown(rest)+c.rendered()) + overhead
		}
	}
	return c.perByte(int64(len(c.body))-c.count("payload")+c.grown(c.body)+c.rendered()) + overhead
}

// overhead is what the provider adds to the body.
func (c *oracleCall) overhead() int64 {
	sum := c.adds("call") * c.prompts()
	tools := c.list("tools")
	if c.generates() && len(tools) > 0 {
		sum += c.adds("tools")
	}
	if c.endpoint == pricing.Embeddings {
		n, _, _ := items(c.m["input"])
		sum += c.adds("item") * n
	}
	if v := c.raw["response_format"]; c.generates() && bytes.Count(v, []byte("{")) > 1 {
		sum += c.adds("schema")
	}
	if !c.generates() {
		return sum
	}
	for _, t := range tools {
		kind, _ := t.(map[string]any)["type"].(string)
		if versionedClientTool.MatchString(kind) {
			sum += 1500
		}
	}
	return sum + 1500*int64(len(c.hostedTools()))
}

// adds is one part of a row's overhead; a number is of every call.
func (c *oracleCall) adds(part string) int64 {
	switch o := c.row["overhead"].(type) {
	case int:
		if part == "call" {
			return int64(o)
		}
	case map[string]any:
		n, _ := o[part].(int)
		return int64(n)
	}
	return 0
}

// rankTokens is 0 for rerankers that bill by search unit; else the query counts
// once per document.
func (c *oracleCall) rankTokens() int64 {
	if c.fee("search_unit") != nil {
		return 0
	}
	var documents []json.RawMessage
	if json.Unmarshal(c.raw["documents"], &documents) != nil {
		panic(refused("field_invalid"))
	}
	query := int64(len(c.raw["query"])) + c.grown(c.raw["query"])
	sum := int64(0)
	for _, d := range documents {
		sum += query + int64(len(d)) + c.grown(d)
	}
	return c.perByte(sum) + c.adds("call")*int64(len(documents))
}

// rendered is how much longer schemas, tools and arguments can get when they are
// printed with a tab for each level and every escape there is.
func (c *oracleCall) rendered() (more int64) {
	if !c.generates() {
		return 0
	}
	for _, name := range []string{"tools", "response_format"} {
		if v := c.raw[name]; v != nil {
			more += max(0, printed(v, "\t")-int64(len(v)))
		}
	}
	more += 48 * int64(len(c.list("tools")))
	if c.row["reprints_tools"] == true {
		more += printedAgain(c.m["tools"])
	}
	var messages []json.RawMessage
	for _, name := range []string{"messages", "input"} {
		if json.Unmarshal(c.raw[name], &messages) != nil {
			continue
		}
		for _, m := range messages {
			if m[0] == '{' {
				more += max(0, 24-int64(len(m)))
			}
		}
	}
	var items []map[string]json.RawMessage
	if c.endpoint != pricing.Responses || json.Unmarshal(c.raw["input"], &items) != nil {
		return more
	}
	for _, item := range items {
		for _, name := range []string{"arguments", "action"} {
			v, inner, prefix := item[name], "", "\t"
			if v == nil {
				continue
			}
			text := []byte(v)
			if json.Unmarshal(v, &inner) == nil {
				text, prefix = []byte(inner), ""
			}
			var arguments map[string]any
			_ = json.Unmarshal(text, &arguments) // others have none
			more += max(0, printed(text, prefix)+20*int64(len(arguments))-int64(len(v)))
		}
	}
	return more
}

// printedAgain is how much a template may write of tools that it wrote before.
func printedAgain(v any) (n int64) {
	quoted := func(s string) int64 {
		raw, _ := json.Marshal(s)
		return printed(raw, "")
	}
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			n += 4 + printedAgain(e)
		}
	case map[string]any:
		for name, e := range v {
			n += quoted(name) + printedAgain(e)
			if arguments, ok := e.(map[string]any); ok && name == "properties" {
				for name, e := range arguments {
					n += 20 + 2*quoted(name)
					if about, ok := e.(map[string]any); ok {
						if text, ok := about["description"].(string); ok {
							n += quoted(text)
						}
					}
				}
			}
		}
	}
	return n
}

func printed(v []byte, prefix string) int64 {
	var small, out bytes.Buffer
	if err := json.Compact(&small, v); err != nil {
		panic(err)
	}
	if err := json.Indent(&out, small.Bytes(), prefix, "\t"); err != nil {
		panic(err)
	}
	size := int64(out.Len())
	for _, r := range small.String() {
		escape := int64(len(`\u003c`))
		if n := int64(utf8.RuneLen(r)); n > 3 {
			size += 2*escape - n
		} else if n > 1 || strings.ContainsRune("<>&'", r) {
			size += escape - n
		} else if r == 0x7f {
			size += int64(len(`\x7f`)) - n
		}
	}
	return size
}

// written matches a character that normalisation may change, as a string has it, and
// escapes that it must not be confused by. First is one of the JSON in the string,
// however its characters are written.
var written = regexp.MustCompile(`((?:\\\\|\\u005[cC])(?:u|\\u0075)(?:[0-9a-fA-F]|\\u00(?:3[0-9]|[46][1-6])){4})|(\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|[^\x00-\x7f])|\\.`)

// grown is how much longer text gets where a tokenizer may normalise it: each run of
// characters in the string, or of those in its JSON, by itself.
func (c *oracleCall) grown(text []byte) int64 {
	if c.row["nfkc"] != true {
		return 0
	}
	var more int64
	all := written.FindAllSubmatchIndex(text, -1)
	all = slices.DeleteFunc(all, func(at []int) bool { return at[2] < 0 && at[4] < 0 }) // other escapes
	for len(all) > 0 {
		inner, n, times := all[0][2] >= 0, 1, 1
		if inner {
			times = 2
		}
		for n < len(all) && all[n][0] == all[n-1][1] && all[n][2] >= 0 == inner {
			n++
		}
		run := text[all[0][0]:all[n-1][1]]
		plain := string(run)
		for range times {
			if json.Unmarshal([]byte(`"`+plain+`"`), &plain) != nil {
				plain = ""
			}
		}
		more += max(0, int64(len(norm.NFKC.String(plain)))-int64(len(run)))
		all = all[n:]
	}
	return more
}

// toolUses is how often the provider's own tools may run, and what is refused.
func (c *oracleCall) toolUses() int64 {
	uses := int64(0)
	together, limited := c.together()
	hosted := false
	for _, t := range c.hostedTools() {
		hosted = true
		if c.fee(t.fee) == nil || t.times == 0 || c.limit("context") == 0 || t.uses < 0 && !limited {
			panic(refused("unbounded_tool"))
		}
		uses += t.uses
	}
	switch {
	case !hosted:
		return 0
	case limited:
		return together
	}
	return uses
}

// together limits all tools of a response.
func (c *oracleCall) together() (n int64, limited bool) {
	if c.endpoint != pricing.Responses {
		return 0, false
	}
	if n, limited = c.number("max_tool_calls"); !limited && c.up.DefaultMaxToolCalls > 0 {
		return c.up.DefaultMaxToolCalls, true
	}
	return n, limited
}

var (
	versionedClientTool = regexp.MustCompile(`^((bash|text_editor|computer|memory)_\d{8}|computer|computer_use_preview)$`)
	pricedTool          = regexp.MustCompile(`^(web_search|web_search_preview|web_fetch|file_search|code_interpreter|code_execution)(_\d{8}|_\d{4}_\d\d_\d\d)?$`)
)

type oracleTool struct {
	fee  string
	uses int64 // -1: no limit of its own
	// times multiplies the fee: a container's gigabytes. 0: nobody knows.
	times   int64
	preview bool
}

// hostedTools are those of tools that do not run at the client.
func (c *oracleCall) hostedTools() []oracleTool {
	var out []oracleTool
	for _, t := range c.list("tools") {
		tool := t.(map[string]any)
		kind, _ := tool["type"].(string)
		client := []string{"function", "custom", "local_shell", "apply_patch"}
		if versionedClientTool.MatchString(kind) {
			continue
		}
		if kind == "" && (c.endpoint == pricing.Messages || tool["function"] != nil) || slices.Contains(client, kind) {
			continue
		}
		h := oracleTool{uses: -1, times: 1, preview: strings.HasPrefix(kind, "web_search_preview")}
		if m := pricedTool.FindStringSubmatch(kind); m != nil {
			h.fee = map[string]string{"web_search_preview": "web_search", "code_interpreter": "code_container", "code_execution": "code_container"}[m[1]]
			h.fee = cmp.Or(h.fee, m[1])
		}
		if container, there := tool["container"]; there && container != nil && h.fee == "code_container" {
			h.times = 0
			if auto, ok := container.(map[string]any); ok {
				h.times = map[any]int64{nil: 1, "1g": 1, "4g": 4, "16g": 16, "64g": 64}[auto["memory_limit"]]
			}
		}
		if n, ok := tool["max_uses"].(json.Number); ok && c.endpoint != pricing.Responses {
			h.uses, _ = n.Int64()
		}
		if h.uses < 0 && c.endpoint == pricing.Messages && c.up.DefaultMaxToolCalls > 0 && !h.preview && strings.HasPrefix(h.fee, "web_") {
			h.uses = c.up.DefaultMaxToolCalls
		}
		out = append(out, h)
	}
	return out
}

// fee is dollars per use, the dearest in force; nil: not priced.
func (c *oracleCall) fee(kind string) *big.Rat {
	var dearest *big.Rat
	for _, list := range c.lists {
		fees, _ := list["fees"].(map[string]any)
		if f := decimal(fees[kind]); f != nil && (dearest == nil || f.Cmp(dearest) > 0) {
			dearest = f
		}
	}
	return dearest
}

// fees is what is billed by use.
func (c *oracleCall) fees() *big.Rat {
	sum := new(big.Rat)
	add := func(kind string, n int64) {
		if f := c.fee(kind); f != nil {
			sum.Add(sum, new(big.Rat).Mul(rat(n), f))
		}
	}
	add("request", 1)
	together, limited := c.together()
	searches, dearest := int64(0), new(big.Rat)
	for _, t := range c.hostedTools() {
		if limited {
			t.uses = together
		}
		if t.fee != "web_search" {
			add(t.fee, t.uses*t.times)
			continue
		}
		searches += t.uses // all at the dearest tool's fee
		for kind, applies := range map[string]bool{"web_search": true, "web_search_preview": t.preview} {
			if f := c.fee(kind); applies && f != nil && f.Cmp(dearest) > 0 {
				dearest = f
			}
		}
	}
	sum.Add(sum, new(big.Rat).Mul(rat(searches), dearest))
	if c.endpoint == pricing.Rerank {
		add("search_unit", c.searchUnits())
	}
	for kind, n := range c.pieces() {
		add(kind, n)
	}
	if f := c.fee("audio_minute"); f != nil && c.generates() {
		rule, _ := c.row["audio"].(map[string]any)
		for _, data := range c.media().audios { // by the second, rounded up to a pico-dollar
			pico := new(big.Int).Mul(f.Num(), big.NewInt(1_000_000_000_000))
			pico.Div(pico.Add(pico, big.NewInt(59*f.Denom().Int64())), new(big.Int).Mul(f.Denom(), big.NewInt(60)))
			second := new(big.Rat).SetFrac(pico, big.NewInt(1_000_000_000_000))
			sum.Add(sum, second.Mul(second, rat((oracleMillis(rule, data)+999)/1000)))
		}
	}
	return sum
}

// searchUnits counts a query with up to 100 documents, long ones once per chunk.
func (c *oracleCall) searchUnits() int64 {
	var documents []json.RawMessage
	if json.Unmarshal(c.raw["documents"], &documents) != nil {
		panic(refused("field_invalid"))
	}
	perDoc, ok := c.number("max_tokens_per_doc")
	if !ok {
		perDoc = 4096
	}
	room := 500 - min(int64(len(c.raw["query"])), 250)
	chunks := int64(0)
	for _, d := range documents {
		chunks += max(1, (min(int64(len(d)), perDoc)+room-1)/room)
	}
	return (chunks + 99) / 100
}

// media is what the body has beside text.
type oracleMedia struct {
	images  []oracleImage
	audios  [][]byte
	pdfs    int64 // that may fill the context
	pages   int64 // of others
	payload int64 // base64 bytes that are no text
}

type oracleImage struct {
	data []byte // nil: elsewhere, or unreadable
	high bool
}

func (c *oracleCall) count(what string) int64 {
	m := c.media()
	return map[string]int64{"images": int64(len(m.images)), "audios": int64(len(m.audios)), "pdfs": m.pdfs, "pages": m.pages, "payload": m.payload}[what]
}

// media looks at every object of the body that looks like a part.
func (c *oracleCall) media() oracleMedia {
	var m oracleMedia
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			c.part(&m, v)
			for _, inner := range v {
				walk(inner)
			}
		case []any:
			for _, inner := range v {
				walk(inner)
			}
		}
	}
	for _, name := range []string{"messages", "input", "system"} {
		if _, text := c.m[name].(string); !text {
			walk(c.m[name])
		}
	}
	return m
}

func (c *oracleCall) part(m *oracleMedia, v map[string]any) {
	add := func(data string, high bool) {
		img := oracleImage{high: high}
		if data != "" {
			m.payload += int64(len(data))
			img.data, _ = base64.StdEncoding.DecodeString(data)
		}
		m.images = append(m.images, img)
	}
	detail := func(v any) bool { return v == "high" || v == "low" }
	fromURL := func(url string, high bool) {
		_, data, _ := strings.Cut(url, ";base64,")
		if !strings.HasPrefix(url, "data:") {
			data = ""
		}
		add(data, high)
	}
	switch url := v["image_url"].(type) {
	case string:
		fromURL(url, detail(v["detail"]) && c.endpoint == pricing.Responses)
	case map[string]any:
		fromURL(url["url"].(string), detail(url["detail"]))
	}
	if v["input_audio"] != nil {
		data, isText := v["input_audio"].(string)
		if !isText {
			data = v["input_audio"].(map[string]any)["data"].(string)
		}
		raw, _ := base64.StdEncoding.DecodeString(data)
		m.audios, m.payload = append(m.audios, raw), m.payload+int64(len(data))
	}
	if data, ok := v["file_data"].(string); ok {
		_, inner, isURL := strings.Cut(data, ",")
		if !isURL {
			inner = data
		}
		m.pdf(inner)
	}
	if source, ok := v["source"].(map[string]any); ok {
		data, _ := source["data"].(string)
		mime, _ := source["media_type"].(string)
		switch {
		case source["file_id"] != nil:
			m.pdfs++
		case mime == "application/pdf":
			m.pdf(data)
		case strings.HasPrefix(mime, "image/"):
			add(data, true)
		case v["type"] == "image":
			add("", true)
		}
	}
}

// pdf knows two documents: one with a page, and one that nobody can read.
func (m *oracleMedia) pdf(data string) {
	m.payload += int64(len(data))
	if raw, err := base64.StdEncoding.DecodeString(data); err == nil && string(raw) == onePage {
		m.pages++
		return
	}
	m.pdfs++
}

func (c *oracleCall) mediaTokens() int64 {
	m, sum := c.media(), c.editedTokens()
	rule, _ := c.row["image"].(map[string]any)
	if page, ok := c.row["pdf_page_tokens"].(int); ok && m.pdfs == 0 {
		text := int64(5*len("Hello)") + len(onePageContent) - len("Hello)"))
		sum += m.pages * (int64(page) + int64(rule["max_tokens"].(int)) + text)
	}
	for _, img := range m.images {
		if rule == nil && c.free() {
			continue
		}
		if rule == nil {
			panic(refused("unbounded_media"))
		}
		sum += imageTokens(rule, img)
	}
	audio, _ := c.row["audio"].(map[string]any)
	for _, data := range m.audios {
		rate, _ := audio["tokens_per_second"].(int)
		if c.fee("audio_minute") == nil && (rate == 0 || !c.priced("input_audio")) {
			panic(refused("unbounded_media"))
		}
		sum += (oracleMillis(audio, data)*int64(rate) + 999) / 1000
	}
	return sum
}

// oracleMillis is how long a recording counts for: a byte is at most 8 kbit/s, and
// some count whole pieces.
func oracleMillis(rule map[string]any, data []byte) int64 {
	if piece, ok := rule["min_seconds"].(int); ok {
		pieces := (len(data) + piece*1000 - 1) / (piece * 1000)
		return int64(pieces * piece * 1000)
	}
	return int64(len(data))
}

func imageTokens(rule map[string]any, img oracleImage) int64 {
	most := int64(rule["max_tokens"].(int))
	if high, ok := rule["high_tokens"].(int); ok && img.high {
		most = int64(high)
	}
	header, _, err := image.DecodeConfig(bytes.NewReader(img.data))
	patch, ok := rule["patch"].(int)
	if err != nil || !ok {
		return most
	}
	across, down := (header.Width+patch-1)/patch, (header.Height+patch-1)/patch
	tokens := new(big.Rat).Mul(rat(int64(across)*int64(down)), decimal(rule["tokens_per_patch"]))
	up := new(big.Int).Add(tokens.Num(), new(big.Int).Sub(tokens.Denom(), big.NewInt(1)))
	return min(most, up.Div(up, tokens.Denom()).Int64()+100) // markers around it
}

// audioOut reports whether the answer may be spoken.
func (c *oracleCall) audioOut() bool {
	if c.endpoint != pricing.Chat && c.endpoint != pricing.Responses {
		return false
	}
	if !slices.Contains(c.list("modalities"), any("audio")) {
		return false
	}
	if !c.priced("output_audio") {
		panic(refused("unbounded_media"))
	}
	return true
}
