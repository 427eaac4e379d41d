package pricing

import "go.yaml.in/yaml/v4"

// overhead is what a provider adds to what a body says, in tokens, as its vendor
// has published it: its chat template and its own prompts.
type overhead struct {
	call   int64 // of every call
	item   int64 // around a message, or around an input to embed
	tools  int64 // once, where there are tools
	schema int64 // once, where the form of the answer is asked for
	// perCall is around a call of a tool, and argument around each of its arguments
	// where the template writes them one by one: for marked messages alone.
	perCall, argument int64
	// marked says that item is published: that each text stands between marks, or
	// alone, and that nothing else of a body is read.
	marked bool
}

// overheadSpec is an overhead as it is written: a number is of every call.
type overheadSpec struct{ call, item, tools, schema, toolCall, argument *int64 }

func (o *overheadSpec) read(n *yaml.Node) error {
	if n.Kind == yaml.ScalarNode {
		return set(&o.call, count("overhead"))(n)
	}
	return readMap(n, "overhead", map[string]func(*yaml.Node) error{
		"call":      set(&o.call, count("overhead.call")),
		"item":      set(&o.item, count("overhead.item")),
		"tools":     set(&o.tools, count("overhead.tools")),
		"schema":    set(&o.schema, count("overhead.schema")),
		"tool_call": set(&o.toolCall, count("overhead.tool_call")),
		"argument":  set(&o.argument, count("overhead.argument")),
	})
}

// over lays a more specific overhead on o, part by part.
func (o overheadSpec) over(more overheadSpec) overheadSpec {
	pick(&o.call, more.call)
	pick(&o.item, more.item)
	pick(&o.tools, more.tools)
	pick(&o.schema, more.schema)
	pick(&o.toolCall, more.toolCall)
	pick(&o.argument, more.argument)
	return o
}

func (o overheadSpec) rule() overhead {
	value := func(n *int64) int64 {
		if n == nil {
			return 0
		}
		return *n
	}
	return overhead{
		call: value(o.call), item: value(o.item), tools: value(o.tools), schema: value(o.schema),
		perCall: max(callMarks, value(o.toolCall)), argument: value(o.argument), marked: o.item != nil,
	}
}

// unpublishedTool is what a provider may write of a tool that it describes
// itself: nobody publishes it of those that it runs. Of Anthropic's that run at the
// client the longest is the computer's, 735 tokens and a prompt of 499:
// https://platform.claude.com/docs/en/agents-and-tools/tool-use/computer-use-tool
const unpublishedTool = 1500

// of is the overhead of one call.
func (o *overhead) of(c *Call) int64 {
	if c.Endpoint == Rerank {
		return o.call * c.items
	}
	n := o.call * max(c.prompts, 1) // each prompt is a request of its own
	if c.Endpoint == Embeddings {
		n += o.item * c.items
	}
	if c.tools > 0 {
		n += o.tools
	}
	if c.schemas {
		n += o.schema
	}
	return n + unpublishedTool*(c.clientTools+int64(len(c.hosted)))
}
