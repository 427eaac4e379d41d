package pricing_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"text/tabwriter"

	"aigateway/budget"
	"aigateway/pricing"

	"github.com/tiktoken-go/tokenizer"
)

// corpusCall is a call as people make them, with the length of its answer.
type corpusCall struct {
	name     string
	messages []chatMessage
	tools    []functionTool
	limit    int   // max_tokens
	answer   int64 // tokens, reasoning included
}

func say(role string, texts ...string) chatMessage {
	m := chatMessage{Role: role}
	for _, t := range texts {
		m.Content = append(m.Content, textPart{"text", t})
	}
	return m
}

const chinese = `我们的团队正在为一家中型制造企业设计新的库存管理系统。该企业在全国有十二个仓库，每天处理大约三万五千笔出入库记录。旧系统建于二〇〇九年，数据库经常在月底结算时变得非常缓慢，仓库管理员不得不用电子表格记录临时调拨，第二天再手工录入。新系统需要支持多仓库实时同步、批次追踪、保质期预警，以及与财务系统的自动对账。我们计划分三个阶段上线：第一阶段先迁移主数据和基础出入库流程；第二阶段加入移动端扫码和调拨审批；第三阶段实现需求预测与自动补货建议。请根据以上背景，列出主要风险，并为每个风险提出可执行的缓解措施，同时给出一份为期六个月的项目时间表。`

// corpus is prose, code, JSON, Chinese, tools and long chats. Its prose and code
// are this repository's own.
func corpus(t testing.TB) []corpusCall {
	file := func(name string, most int) string {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ToValidUTF8(string(b[:min(len(b), most)]), "")
	}
	prose, code, openapi := file("../ledger/DESIGN.md", 16<<10), file("call_stored.go", 12<<10), file("../adminapi/openapi.json", 24<<10)
	assistant := say("system", "You are a careful assistant. Answer briefly, in the language of the question, and say when you do not know.")
	var chat []chatMessage
	for i, turn := range strings.SplitAfter(prose, "\n\n") {
		chat = append(chat, say([]string{"user", "assistant"}[i%2], turn))
	}
	var agent []chatMessage
	for i := range 12 {
		agent = append(agent, say("assistant", fmt.Sprintf("I will look at part %d of the program, then decide.", i)), say("tool", code[i*len(code)/12:(i+1)*len(code)/12]))
	}
	tools := []functionTool{}
	for _, name := range []string{"read_file", "write_file", "search", "run_tests", "list_directory", "open_issue", "query_database", "send_mail"} {
		tools = append(tools, functionTool{"function", function{name, "Use " + name + " when the task needs it.\nReturns the result as text, at most 2,000 lines; longer ones are cut in the middle and say so.\nNever call it twice with the same arguments: the second answer would be the same, and costs as much as the first."}})
	}
	return []corpusCall{
		{"question", []chatMessage{assistant, say("user", "What is the difference between a mutex and a semaphore?")}, nil, 1000, 250},
		{"summary of prose", []chatMessage{assistant, say("user", "Summarize this document in five points:\n\n"+prose)}, nil, 1000, 300},
		{"code review", []chatMessage{assistant, say("user", "Find the bugs in this file:\n\n"+code)}, nil, 4000, 1200},
		{"JSON extraction", []chatMessage{assistant, say("user", "Which of these operations need no key?", openapi)}, nil, 1000, 200},
		{"Chinese plan", []chatMessage{assistant, say("user", chinese)}, nil, 4000, 1500},
		{"Chinese, long", []chatMessage{assistant, say("user", strings.Repeat(chinese+"\n", 12))}, nil, 4000, 1500},
		{"tools, first turn", []chatMessage{assistant, say("user", "Run the tests and fix what fails.")}, tools, 4000, 150},
		{"agent, late turn", append([]chatMessage{assistant, say("user", "Run the tests and fix what fails.")}, agent...), tools, 4000, 400},
		{"long chat", append([]chatMessage{assistant}, chat...), nil, 2000, 350},
	}
}

// TestTightness measures how far bounds are above what calls cost: with -v it
// prints the table that is in the decision records.
func TestTightness(t *testing.T) {
	count := codec(t, tokenizer.O200kBase)
	var table strings.Builder
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\tbody\tinput\tby bytes\t\ttokenizer\t\tcost USD\tby bytes\t\ttokenizer\t\t")
	row := func(name string, bytes int, v [6]int64) {
		times := func(a, b int64) string { return fmt.Sprintf("%.1fx", float64(a)/float64(b)) }
		usd := func(a int64) string { return fmt.Sprintf("%.4f", float64(a)/float64(budget.Dollar)) }
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t\n", name, bytes,
			v[0], v[1], times(v[1], v[0]), v[2], times(v[2], v[0]), usd(v[3]), usd(v[4]), times(v[4], v[3]), usd(v[5]), times(v[5], v[3]))
	}
	var total [6]int64
	size := 0
	for _, c := range corpus(t) {
		b := renderedBody{"openai/gpt-5.5", c.limit, c.messages, c.tools}
		body := jsonText(t, b)
		input := count(renderings(t, &b)[0]) + 4*int64(len(c.messages)) // marks around a message, as documented for chat models
		plain, counted := mustBound(t, mustLoad(t), pricing.Chat, body, noon()), mustBound(t, counting(t), pricing.Chat, body, noon())
		cost := input*5_000 + c.answer*30_000 // nano-USD: $5 and $30 a million
		v := [6]int64{input, inputOf(t, plain), inputOf(t, counted), cost, int64(plain.Amount), int64(counted.Amount)}
		if v[2] < v[0] || v[1] < v[2] || v[5] < v[3] || v[4] < v[5] {
			t.Errorf("%s: the bound is too low, or higher with the tokenizer: %v", c.name, v)
		}
		for i := range v {
			total[i] += v[i]
		}
		size += len(body)
		row(c.name, len(body), v)
	}
	row("all", size, total)
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	t.Logf("gpt-5.5, bound over actual:\n%s", table.String())
	if 2*total[2] > total[1] {
		t.Errorf("the tokenizer halves the input bound at least; it is %d instead of %d", total[2], total[1])
	}
}
