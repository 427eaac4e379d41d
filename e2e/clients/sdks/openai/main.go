// Command openai does with openai-go what SCENARIO says.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
	"github.com/openai/openai-go/v3/shared"
)

func main() {
	if err := run(context.Background()); err != nil {
		var e *openai.Error // whose text has the status alone
		if errors.As(err, &e) {
			fmt.Fprintln(os.Stderr, e.Message)
		}
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	client := openai.NewClient(option.WithBaseURL(os.Getenv("BASE_URL")+"/v1"), option.WithAPIKey(os.Getenv("API_KEY")), option.WithHeader("x-aig-tag", os.Getenv("TAG")))
	call := openai.ChatCompletionNewParams{
		Model:    "openai/gpt-5.5",
		Messages: []openai.ChatCompletionMessageParamUnion{openai.UserMessage(os.Getenv("PROMPT"))},
	}
	switch os.Getenv("SCENARIO") {
	case "stream":
		stream := client.Chat.Completions.NewStreaming(ctx, call)
		parts := 0
		for stream.Next() {
			if c := stream.Current().Choices; len(c) > 0 && c[0].Delta.Content != "" {
				parts++
				fmt.Print(c[0].Delta.Content)
			}
		}
		if stream.Err() == nil && parts < 2 {
			return fmt.Errorf("a stream of %d parts", parts)
		}
		return stream.Err()
	case "tool call":
		call.Tools = []openai.ChatCompletionToolUnionParam{openai.ChatCompletionFunctionTool(shared.FunctionDefinitionParam{
			Name: "weather", Parameters: shared.FunctionParameters{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}, "required": []string{"city"}},
		})}
		asked, err := client.Chat.Completions.New(ctx, call)
		if err != nil {
			return err
		}
		if len(asked.Choices[0].Message.ToolCalls) != 1 {
			return fmt.Errorf("asked %s", asked.RawJSON())
		}
		call.Messages = append(call.Messages, asked.Choices[0].Message.ToParam(), openai.ToolMessage("sunny", asked.Choices[0].Message.ToolCalls[0].ID))
	case "structured output":
		var schema any
		if err := json.Unmarshal([]byte(os.Getenv("SCHEMA")), &schema); err != nil {
			return err
		}
		call.ResponseFormat.OfJSONSchema = &shared.ResponseFormatJSONSchemaParam{
			JSONSchema: shared.ResponseFormatJSONSchemaJSONSchemaParam{Name: "verdict", Schema: schema, Strict: openai.Bool(true)},
		}
	}
	answer, err := client.Chat.Completions.New(ctx, call)
	if err != nil {
		return err
	}
	fmt.Println(answer.Choices[0].Message.Content)
	return nil
}
