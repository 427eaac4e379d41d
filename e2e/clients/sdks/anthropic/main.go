// Command anthropic does with anthropic-sdk-go what SCENARIO says.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/anthropics/anthropic-sdk-go"
	"github.com/anthropics/anthropic-sdk-go/option"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	client := anthropic.NewClient(option.WithBaseURL(os.Getenv("BASE_URL")), option.WithAPIKey(os.Getenv("API_KEY")), option.WithHeader("x-aig-tag", os.Getenv("TAG")))
	call := anthropic.MessageNewParams{
		Model: "anthropic/claude-opus-5", MaxTokens: 1024,
		Messages: []anthropic.MessageParam{anthropic.NewUserMessage(anthropic.NewTextBlock(os.Getenv("PROMPT")))},
	}
	switch os.Getenv("SCENARIO") {
	case "stream":
		stream := client.Messages.NewStreaming(ctx, call)
		parts := 0
		for stream.Next() {
			if text := stream.Current().Delta.Text; text != "" {
				parts++
				fmt.Print(text)
			}
		}
		if stream.Err() == nil && parts < 2 {
			return fmt.Errorf("a stream of %d parts", parts)
		}
		return stream.Err()
	case "tool call":
		call.Tools = []anthropic.ToolUnionParam{{OfTool: &anthropic.ToolParam{
			Name: "weather", InputSchema: anthropic.ToolInputSchemaParam{Properties: map[string]any{"city": map[string]any{"type": "string"}}, Required: []string{"city"}},
		}}}
		asked, err := client.Messages.New(ctx, call)
		if err != nil {
			return err
		}
		call.Messages = append(call.Messages, asked.ToParam())
		for _, block := range asked.Content {
			if block.Type == "tool_use" {
				call.Messages = append(call.Messages, anthropic.NewUserMessage(anthropic.NewToolResultBlock(block.ID, "sunny", false)))
			}
		}
		if len(call.Messages) != 3 {
			return fmt.Errorf("asked %s", asked.RawJSON())
		}
	case "structured output":
		if err := json.Unmarshal([]byte(os.Getenv("SCHEMA")), &call.OutputConfig.Format.Schema); err != nil {
			return err
		}
	}
	answer, err := client.Messages.New(ctx, call)
	if err != nil {
		return err
	}
	for _, block := range answer.Content {
		fmt.Println(block.Text)
	}
	return nil
}
