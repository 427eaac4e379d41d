package pricing

import "slices"

// memberID says which member of an inner object a name is.
type memberID uint8

const (
	done memberID = iota // nothing is left to read
	isType
	isRole
	isContent
	isTools
	isToolCalls
	isFunction
	isContainer
	isMaxUses
	isImageURL
	isDetail
	isURL
	isData
	isMediaType
	isFile
	isFileData
	isInputAudio
	isSource
	isSummary
	isOutput
	isResult
	isIdentity
	isEncrypted
	isArguments
	isInput
	isAction
	isOperation
	isError
	isHosted
	isName
	isMode
	isTTL
	isPrewarm
	isMemory
	isContext
	isTool
	isDefinition
	isFileID
	isExecution
	isEnvironment
	isCode
)

// What a refusal says of media in an inner object.
const (
	elsewhereRemedy = "refers to a file whose size is unknown; send its text, or images as base64"
	besidePart      = "has media whose size is unknown; send images as image_url parts of content"
	besideItem      = "has media whose size is unknown; send images as input_image parts of content"
	besideBlock     = "has media whose size is unknown; send image blocks in content"
	partRemedy      = "has no bound; send text, or images as image_url"
	itemPartRemedy  = "has no bound; send text, or images as data in image_url"
	blockRemedy     = "has no bound; send text, or image blocks with a source"
	documentRemedy  = "has no bound; send documents as text"
)

// media are members of one kind of object that hold media without a bound.
func media(remedy string, names ...string) []member {
	out := make([]member, len(names))
	for i, name := range names {
		out[i] = member{name: name, reason: "unbounded_media", remedy: remedy}
	}
	return out
}

// plain are members that decide nothing.
func plain(names ...string) []member {
	out := make([]member, len(names))
	for i, name := range names {
		out[i] = member{name: name}
	}
	return out
}

// The inner objects of bodies. They are never changed.
var (
	messageObject = newScope("an element of chat's messages", join(
		[]member{
			{name: "content", id: isContent, about: "a text, or parts"},
			{name: "role", id: isRole, about: "Moonshot's role cache is stored input"},
			{name: "tools", id: isTools, about: "tools, as beside messages"},
			{name: "tool_calls", id: isToolCalls, about: "arguments count as the longest of their renderings"},
			{name: "function_call", id: isToolCalls, about: "the same"},
			{name: "audio", reason: "unbounded_input", remedy: "refers to an earlier answer's audio, whose length is unknown; send its transcript as text"},
		},
		media(besidePart, "images", "videos", "files", "file_ids", "documents", "attachments"),
		plain("name", "tool_call_id", "refusal", "reasoning", "reasoning_content"),
	))

	toolCallObject = newScope("a tool call in a chat message", join(
		[]member{
			{name: "function", id: isFunction, about: "what was called"},
			{name: "arguments", id: isArguments, about: "count as the longest of their renderings"},
			{name: "name", id: isName, about: "a template may repeat it with what the tool gave"},
		},
		plain("id", "type", "index"),
	))

	partObject = newScope("a part of a chat message's content", join(
		[]member{
			{name: "type", id: isType, about: "must be one that has a bound"},
			{name: "image_url", id: isImageURL, about: "an image: by its dimensions, else the model's most"},
			{name: "input_audio", id: isInputAudio, about: "audio: the longest the bytes allow"},
			{name: "file", id: isFile, about: "a PDF: bounded by its pages or the context, see file_data"},
			{name: "tools", id: isTools, about: "tools, as beside messages"},
		},
		media(partRemedy, "file_id", "video_url", "video", "input_file", "document", "document_url", "source", "image", "audio", "audio_url", "image_embeds", "audio_embeds"),
		plain("text", "refusal"),
	))

	fileObject = newScope("the file of a chat message's part", join(
		[]member{{name: "file_data", id: isFileData, about: "a PDF: bounded by its pages where its vendor publishes what one takes, else by the context where allow_pdf is set"}},
		media(partRemedy, "file_id", "file_url", "url"),
		plain("filename"),
	))

	turnObject = newScope("an element of the Messages API's messages", join(
		[]member{
			{name: "content", id: isContent, about: "a text, or blocks"},
			{name: "tools", id: isTools, about: "tools, as beside messages"},
		},
		media(besideBlock, "images", "videos", "files", "file_ids", "documents", "attachments", "audio"),
		plain("role", "clear_at", "output_config"),
	))

	blockObject = newScope("a block of content in the Messages API", join(
		[]member{
			{name: "type", id: isType, about: "must be one that has a bound"},
			{name: "source", id: isSource, about: "an image or a document"},
			{name: "content", id: isContent, about: "a text, or blocks"},
			{name: "tools", id: isTools, about: "tools, as beside messages"},
			{name: "input", id: isInput, about: "arguments count as the longest of their renderings"},
			{name: "tool_references", id: isContent, about: "blocks that refer to tools"},
			{name: "tool_name", id: isName, about: "a reference stands for the tool of that name once more"},
			{name: "tool", id: isTool, about: "a tool that is added from here on: a reference, or its definition"},
		},
		media(blockRemedy, "image_url", "input_audio", "video_url", "file", "video", "audio", "image"),
		media(elsewhereRemedy, "file_id", "file_ids"),
		plain("text", "id", "name", "tool_use_id", "is_error", "thinking", "signature", "citations", "title", "context"),
	))

	toolChangeObject = newScope("the tool of a block that adds or removes one in the Messages API", join(
		[]member{
			{name: "name", id: isName, about: "a reference stands for the tool of that name once more"},
			{name: "tool_name", id: isName, about: "the same"},
			{name: "definition", id: isDefinition, about: "a tool, as beside messages"},
		},
		plain("type", "server_name"),
	))

	sourceObject = newScope("the source of an image or document in the Messages API", join(
		[]member{
			{name: "type", id: isType, about: "text, or something encoded"},
			{name: "media_type", id: isMediaType, about: "must be one that has a bound"},
			{name: "data", id: isData, about: "an image: by its dimensions, else the model's most"},
			{name: "url", id: isURL, about: "an image: the model's most"},
			{name: "content", id: isContent, about: "a text, or blocks"},
			{name: "file_id", id: isFileID, about: "a file of the account: may fill the context"},
		},
	))

	imageObject = newScope("the image of a chat message's part", join(
		[]member{
			{name: "url", id: isURL, about: "an image: by its dimensions, else the model's most"},
			{name: "detail", id: isDetail, about: "high and low keep an image small"},
		},
		media(elsewhereRemedy, "file_id"),
	))

	audioObject = newScope("the audio of a part", join(
		[]member{{name: "data", id: isData, about: "the longest the bytes allow"}},
		media(elsewhereRemedy, "file_id", "url"),
		plain("format"),
	))

	itemObject = newScope("an item of the Responses API's input", join(
		[]member{
			{name: "type", id: isType, about: "must be one that has a bound"},
			{name: "content", id: isContent, about: "a text, or parts"},
			{name: "summary", id: isSummary, about: "parts"},
			{name: "output", id: isOutput, about: "a text, or parts"},
			{name: "result", id: isResult, about: "an image of an earlier answer counts as one again; makes a program's output whole"},
			{name: "tools", id: isTools, about: "tools, as beside input"},
			{name: "id", id: isIdentity, about: "of an item that does not stand whole in the body, names what the provider stored"},
			{name: "encrypted_content", id: isEncrypted, about: "makes a reasoning or compaction item whole"},
			{name: "arguments", id: isArguments, about: "makes a function call whole"},
			{name: "name", id: isName, about: "a template may repeat it with what the tool gave"},
			{name: "input", id: isInput, about: "makes a custom tool call whole"},
			{name: "action", id: isAction, about: "makes a shell or computer call whole"},
			{name: "actions", id: isAction, about: "the same"},
			{name: "operation", id: isOperation, about: "makes a patch call whole"},
			{name: "error", id: isError, about: "makes an MCP call whole"},
			{name: "code", id: isCode, about: "makes a program whole"},
		},
		media(besideItem, "file_ids", "files", "attachments", "images", "videos", "audio", "documents"),
		plain("role", "status", "call_id", "phase", "queries", "results", "outputs", "namespace", "execution", "author", "recipient",
			"internal_chat_message_metadata_passthrough", "ghost_commit"),
	))

	itemPartObject = newScope("a part of an item's content in the Responses API", join(
		[]member{
			{name: "type", id: isType, about: "must be one that has a bound"},
			{name: "image_url", id: isImageURL, about: "an image: by its dimensions, else the model's most"},
			{name: "detail", id: isDetail, about: "high and low keep an image small"},
			{name: "file_data", id: isFileData, about: "a PDF: bounded by its pages where its vendor publishes what one takes, else by the context where allow_pdf is set"},
			{name: "input_audio", id: isInputAudio, about: "audio: the longest the bytes allow"},
			{name: "tools", id: isTools, about: "tools, as beside input"},
		},
		media(itemPartRemedy, "file_id", "file_url", "video_url", "source", "file", "image", "audio", "audio_url", "url", "document"),
		plain("text", "annotations", "logprobs", "refusal", "filename", "encrypted_content"),
	))

	toolObject = newScope("a tool", join(
		[]member{
			{name: "type", id: isType, about: "who runs it"},
			{name: "max_uses", id: isMaxUses, about: "the uses of a hosted tool"},
			{name: "function", id: isFunction, about: "makes a tool without a type one of the client"},
			{name: "container", id: isContainer, about: "the size of a hosted code tool"},
			{name: "tools", id: isTools, about: "the tools of a namespace, as if they stood outside"},
			{name: "name", id: isName, about: "what references to it call it"},
			{name: "execution", id: isExecution, about: "client: a search for tools that the client runs"},
			{name: "environment", id: isEnvironment, about: "where a shell runs"},
		},
		hostedMembers("google_search", "google_search_retrieval", "google_maps", "enterprise_web_search", "url_context", "code_execution", "retrieval",
			"web_search", "file_search", "server_url", "server_label", "connector_id", "vector_store_ids", "mcp_servers"),
		plain("description", "parameters", "input_schema", "strict", "format", "defer_loading", "allowed_callers", "output_schema", "eager_input_streaming", "input_examples"),
	))

	containerObject = newScope("the container of a hosted code tool", join(
		[]member{{name: "memory_limit", id: isMemory, about: "multiplies its fee"}},
		plain("type", "file_ids"),
	))

	environmentObject = newScope("the environment of a shell tool", join(
		[]member{{name: "type", id: isType, about: "local: at the client"}},
		plain("skills"),
	))

	cacheOptionsObject = newScope("prompt_cache_options", []member{
		{name: "mode", id: isMode, about: "explicit: only what a breakpoint marks is written"},
		{name: "ttl", id: isTTL, about: "long-lived writes have a price of their own"},
		{name: "prewarm", id: isPrewarm, about: "fills the cache"},
	})

	reasoningObject = newScope("reasoning", join(
		[]member{{name: "context", id: isContext, about: "all_turns: what an earlier turn left out may be input again"}},
		plain("effort", "summary", "generate_summary", "mode", "max_tokens", "enabled", "exclude"),
	))

	documentObject = newScope("a document to rank", join(
		media(documentRemedy, "image", "images", "image_url", "img", "url", "video", "video_url", "audio", "file", "file_id", "content", "source", "data"),
		plain("text", "title", "id"),
	))

	optionsObject = newScope("Ollama's options", refusedAs("unsupported_feature", capRemedy,
		"num_predict", "n_predict", "num_ctx", "max_tokens", "max_new_tokens", "max_completion_tokens", "max_output_tokens", "n"))
)

// hostedMembers make a tool one that the provider runs, whatever its type says.
func hostedMembers(names ...string) []member {
	out := make([]member, len(names))
	for i, name := range names {
		out[i] = member{name: name, id: isHosted, about: "makes it a tool that the provider runs"}
	}
	return out
}

func refusedAs(reason, remedy string, names ...string) []member {
	out := media(remedy, names...)
	for i := range out {
		out[i].reason = reason
	}
	return out
}

func join(lists ...[]member) []member { return slices.Concat(lists...) }
