package agentbody

import (
	"fmt"
	"strings"
)

// mostTools is how many tools agents usually bring.
const mostTools = 30

// Chat is a chat body of size bytes for the model, at least some 700. It is the
// same whenever it is asked for. A stream asks for no usage report, as most
// clients do.
func Chat(model string, size int, stream bool) []byte {
	var b strings.Builder
	fmt.Fprintf(&b, `{"model":%q,"max_tokens":200,"stream":%t,"messages":[`, model, stream)
	b.WriteString(`{"role":"system","content":"You are a coding agent.\nRun \"go test ./...\" before you answer.\n"}`)
	tools := toolList(min(mostTools, size/4096))
	room := size - len(tools) - len(tail) - len(lastMessage)
	for i := 0; ; i++ {
		turn := turn(i)
		if b.Len()+len(turn) > room {
			break
		}
		b.WriteString(turn)
	}
	fill := max(0, room-b.Len())
	fmt.Fprintf(&b, lastMessage, strings.Repeat("x", fill))
	b.WriteString(tools)
	b.WriteString(tail)
	return []byte(b.String())
}

const (
	lastMessage = `,{"role":"user","content":"Go on. %s"}`
	tail        = `}`
)

// turn is what the agent said, the tool it called, and what came of that.
func turn(i int) string {
	line := fmt.Sprintf(`%d\tif err := run(\"step-%d\"); err != nil {\n\t\treturn fmt.Errorf(\"run: %%w\", err)\n\t}\n`, 40+i, i)
	return fmt.Sprintf(`,{"role":"assistant","content":"Let me look at file %d.","tool_calls":[{"id":"call_%06d","type":"function",`+
		`"function":{"name":"read_file","arguments":"{\"path\":\"internal/pkg%d/file.go\",\"limit\":%d}"}}]}`+
		`,{"role":"tool","tool_call_id":"call_%06d","content":"%s"}`, i, i, i, 20+i%100, i, strings.Repeat(line, 1+i%7))
}

func toolList(n int) string {
	if n == 0 {
		return "]"
	}
	tools := make([]string, n)
	for i := range tools {
		tools[i] = fmt.Sprintf(`{"type":"function","function":{"name":"tool_%d","description":"Does \"thing %d\" to a file.\nReturns what it saw.",`+
			`"parameters":{"type":"object","properties":{"path":{"type":"string","description":"Absolute path"},`+
			`"mode":{"type":"string","enum":["read","write","append"]},"limit":{"type":"integer","minimum":1,"maximum":2000}},`+
			`"required":["path"],"additionalProperties":false}}}`, i, i)
	}
	return `],"tools":[` + strings.Join(tools, ",") + "]"
}
