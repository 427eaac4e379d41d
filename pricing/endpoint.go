package pricing

import (
	"slices"
	"strings"
)

// Endpoint is an inference API; its value is what the route tells the check.
type Endpoint string

// The endpoints.
const (
	Chat        Endpoint = "chat"
	Embeddings  Endpoint = "embeddings"
	Responses   Endpoint = "responses"
	Messages    Endpoint = "messages" // Anthropic's own
	Completions Endpoint = "completions"
	Rerank      Endpoint = "rerank"
	CountTokens Endpoint = "count_tokens" // of Messages; nothing is billed
	Moderations Endpoint = "moderations"
	Images      Endpoint = "images"
	ImageEdits  Endpoint = "image_edits"
	Speech      Endpoint = "speech"
	// Transcriptions are in the language of the recording, Translations in
	// English.
	Transcriptions Endpoint = "transcriptions"
	Translations   Endpoint = "translations"
	InputTokens    Endpoint = "input_tokens" // of Responses; nothing is billed
	Compact        Endpoint = "compact"      // of Responses: a long input made short
)

// declaration is all that one endpoint is: whoever adds one adds it here, and
// its members to the table of members.
type declaration struct {
	name  Endpoint
	path  string   // behind /v1 here, and usually below a provider's base URL
	also  []string // whole paths here at which some SDK expects it, too
	about string
	in    endpoints // its bit in the table of members

	// anthropic says that its clients speak Anthropic's API: their key may
	// come in x-api-key, and errors have Anthropic's envelope.
	anthropic bool
	// dialect is how its answers report their usage; empty: as the upstream's
	// chat does.
	dialect string
	// caps are the members that cap its output, the usual one first.
	caps []string
	// defaultModel is what a body means that names none.
	defaultModel string
	// forms says that its body may be a form, multipart/form-data.
	forms bool
	// makes says that its answers have output all the same, which the model's own
	// rules bound: images, speech.
	makes bool
	// summary says that its output is a summary, which nothing in the body caps.
	summary bool
	// defaultCap is inserted where neither body, caller, model nor upstream
	// name another; 0: the usual one.
	defaultCap int64
	// asksUsage says that a stream reports its usage only when asked to.
	asksUsage bool
	// free says that its provider bills nothing: the call holds nothing, and is in
	// no usage.
	free bool
	// stores says that later calls can name an answer and what is in it.
	stores bool
	// complete checks what only the whole body shows; nil: nothing.
	complete func(*Call) error
	// members are those of a body, see topLevel.
	members *scope
}

// declarations are in the order of Endpoints; a new one is added at the end, for
// pins hold its place. It is never changed.
var declarations = []declaration{
	{
		name: Chat, in: inChat, path: "/chat/completions", about: "OpenAI's chat completions, which most providers speak",
		members: scopeOf(inChat, "the body"),
		caps:    []string{"max_tokens", "max_completion_tokens"}, asksUsage: true,
	},
	{
		name: Embeddings, in: inEmbeddings, path: "/embeddings", about: "texts to vectors",
		members: scopeOf(inEmbeddings, "the body"),
	},
	{
		name: Responses, in: inResponses, path: "/responses", about: "OpenAI's Responses API",
		members: scopeOf(inResponses, "the body"),
		caps:    []string{"max_output_tokens"}, dialect: DialectOpenAIResponses, stores: true,
	},
	{
		name: Messages, in: inMessages, path: "/messages", about: "Anthropic's Messages API",
		members: scopeOf(inMessages, "the body"),
		caps:    []string{"max_tokens"}, dialect: DialectAnthropicMessages, anthropic: true, complete: completeMessages,
	},
	{
		name: Completions, in: inCompletions, path: "/completions", about: "legacy completions of a text",
		members: scopeOf(inCompletions, "the body"),
		caps:    []string{"max_tokens"}, defaultCap: completionTokens, asksUsage: true,
	},
	{
		name: Rerank, in: inRerank, path: "/rerank", about: "documents in the order of a query",
		members: scopeOf(inRerank, "the body"),
		also:    []string{"/v2/rerank"}, // Cohere's SDK
		dialect: DialectTokensRerank, complete: completeRerank,
	},
	{ // https://platform.claude.com/docs/en/build-with-claude/token-counting
		name: CountTokens, in: inMessages, path: "/messages/count_tokens", about: "how many input tokens a message would have; free",
		members: scopeOf(inMessages, "the body"),
		dialect: DialectAnthropicMessages, anthropic: true, free: true,
	},
	{
		name: Moderations, in: inModerations, path: "/moderations", about: "whether texts and images are harmful",
		members:      scopeOf(inModerations, "the body"),
		defaultModel: "omni-moderation-latest", // as OpenAI's reference says, and its SDKs rely on
	},
	{
		name: Images, in: inImages, path: "/images/generations", about: "images from a text",
		members: scopeOf(inImages, "the body"),
		dialect: DialectOpenAIMedia, makes: true, complete: completeImages,
	},
	{
		name: ImageEdits, in: inImageEdits, path: "/images/edits", about: "images from images and a text",
		members: scopeOf(inImageEdits, "the body"),
		dialect: DialectOpenAIMedia, forms: true, makes: true, complete: completeImages,
	},
	{
		name: Speech, in: inSpeech, path: "/audio/speech", about: "a text, spoken",
		members: scopeOf(inSpeech, "the body"),
		dialect: DialectOpenAIMedia, makes: true, complete: completeSpeech,
	},
	{
		name: Transcriptions, in: inTranscriptions, path: "/audio/transcriptions", about: "recordings, written down",
		members: scopeOf(inTranscriptions, "the body"),
		dialect: DialectOpenAIMedia, forms: true, makes: true, complete: completeHearing,
	},
	{
		name: Translations, in: inTranslations, path: "/audio/translations", about: "recordings, written down in English",
		members: scopeOf(inTranslations, "the body"),
		dialect: DialectOpenAIMedia, forms: true, makes: true, complete: completeHearing,
	},
	{ // https://developers.openai.com/api/reference/resources/responses/subresources/input_tokens
		name: InputTokens, in: inResponses, path: "/responses/input_tokens", about: "how many input tokens a response would have; free",
		members: scopeOf(inResponses, "the body"),
		dialect: DialectOpenAIResponses, free: true,
	},
	{ // https://developers.openai.com/api/docs/guides/compaction
		name: Compact, in: inResponses, path: "/responses/compact", about: "a long input made short, by one more answer of the model",
		members: scopeOf(inResponses, "the body"),
		dialect: DialectOpenAIResponses, summary: true, stores: true, complete: completeCompact,
	},
}

// Endpoints lists every endpoint.
func Endpoints() []Endpoint {
	out := make([]Endpoint, len(declarations))
	for i := range declarations {
		out[i] = declarations[i].name
	}
	return out
}

// declared finds an endpoint's declaration; the one that declares nothing for
// an unknown name.
func (e Endpoint) declared() *declaration {
	for i := range declarations {
		if declarations[i].name == e {
			return &declarations[i]
		}
	}
	return &declaration{}
}

// place is the endpoint's among the declared ones, from 1; 0 for an unknown name.
func (e Endpoint) place() uint64 {
	for i := range declarations {
		if declarations[i].name == e {
			return uint64(i + 1)
		}
	}
	return 0
}

// Known reports whether there is such an endpoint.
func (e Endpoint) Known() bool { return e.declared().name != "" }

// Path is where providers usually have the endpoint below their base URL, with a
// leading slash; empty for an unknown one.
func (e Endpoint) Path() string { return e.declared().path }

// Free reports whether providers bill nothing for it.
func (e Endpoint) Free() bool { return e.declared().free }

// Paths are the whole paths at which this gateway serves the endpoint, the usual
// one first.
func (e Endpoint) Paths() []string {
	d := e.declared()
	return append([]string{"/v1" + d.path}, d.also...)
}

// EndpointNamed is the endpoint of that name; empty: there is none.
func EndpointNamed(name []byte) Endpoint {
	for i := range declarations {
		if d := &declarations[i]; string(d.name) == string(name) {
			return d.name
		}
	}
	return ""
}

// EndpointAt is the endpoint that this gateway serves at a path, with or without
// a slash at its end; empty: none.
func EndpointAt(path string) Endpoint {
	path = strings.TrimSuffix(path, "/")
	for i := range declarations {
		d := &declarations[i]
		if rest, ok := strings.CutPrefix(path, "/v1"); ok && rest == d.path || slices.Contains(d.also, path) {
			return d.name
		}
	}
	return ""
}

// Anthropic reports whether its clients speak Anthropic's own API.
func (e Endpoint) Anthropic() bool { return e.declared().anthropic }

// CapField is the member that usually caps the output; empty where there is no
// output.
func (e Endpoint) CapField() string {
	if caps := e.declared().caps; len(caps) > 0 {
		return caps[0]
	}
	return ""
}

// TakesForms reports whether a body may be a form, multipart/form-data.
func (e Endpoint) TakesForms() bool { return e.declared().forms }

// generates reports whether answers have output tokens that a member caps, or none does.
func (e Endpoint) generates() bool { return len(e.declared().caps) > 0 || e.declared().summary }

// silent reports whether answers have no output tokens.
func (e Endpoint) silent() bool { return !e.generates() && !e.declared().makes }

// cap is the call's member of that name.
func (c *Call) cap(name string) *capField {
	switch name {
	case "max_completion_tokens":
		return &c.maxCompletion
	case "max_output_tokens":
		return &c.maxOutput
	}
	return &c.maxTokens
}

// uncapped reports whether the body may need a default output cap: it lacks one
// of the members that could name it.
func (c *Call) uncapped() bool {
	return slices.ContainsFunc(c.Endpoint.declared().caps, func(name string) bool { return !c.cap(name).set })
}

// honouredCap is the larger cap of those the body sets and the upstream obeys,
// or -1. An endpoint's only cap is obeyed by all that have the endpoint.
func (m *Model) honouredCap(c *Call) int64 {
	limit, _ := m.sentCap(c)
	return limit
}

// sentCap is honouredCap, with the fewest bytes in which the body says it.
func (m *Model) sentCap(c *Call) (limit int64, width int) {
	caps, limit := c.Endpoint.declared().caps, int64(-1)
	for _, name := range caps {
		f := c.cap(name)
		switch {
		case !f.set || len(caps) > 1 && !m.Upstream.honours(name):
		case f.value > limit:
			limit, width = f.value, f.width
		case f.value == limit:
			width = min(width, f.width)
		}
	}
	return limit, width
}

// capField is the member a default cap is inserted as.
func (m *Model) capField(e Endpoint) string {
	field := m.Upstream.capField()
	if caps := e.declared().caps; field != CapFieldNone && len(caps) == 1 {
		return caps[0]
	}
	return field
}
