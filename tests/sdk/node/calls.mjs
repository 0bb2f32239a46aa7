// One call of each kind through the official SDKs; prints what they made of it as JSON.
import Anthropic from "@anthropic-ai/sdk";
import OpenAI from "openai";

const [base, key, model] = process.argv.slice(2);
const openai = new OpenAI({ baseURL: `${base}/v1`, apiKey: key, maxRetries: 0 });
const anthropic = new Anthropic({ baseURL: base, apiKey: key, maxRetries: 0 });
const messages = [{ role: "user", content: "Hello there" }];
const schema = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const seen = {};

seen.chat = (await openai.chat.completions.create({ model, messages })).choices[0].message.content;

seen.chatStream = "";
for await (const chunk of await openai.chat.completions.create({ model, messages, stream: true })) {
  seen.chatStream += chunk.choices[0]?.delta?.content ?? "";
}

seen.responses = (await openai.responses.create({ model, input: "Hello there" })).output_text;

const stream = openai.responses.stream({ model, input: "Hello there" });
seen.responsesStream = (await stream.finalResponse()).output_text;

seen.messages = (await anthropic.messages.create({ model, max_tokens: 200, messages })).content[0].text;

seen.messagesStream = await anthropic.messages.stream({ model, max_tokens: 200, messages }).finalText();

const called = await anthropic.messages.create({
  model,
  max_tokens: 200,
  messages: [{ role: "user", content: "Use the tool" }],
  tools: [{ name: "get_weather", input_schema: schema }],
});
seen.tool = called.content.find((block) => block.type === "tool_use").input;

for (const [name, ask] of [
  ["openaiMissing", () => openai.chat.completions.create({ model: "no-such-model", messages })],
  ["anthropicMissing", () => anthropic.messages.create({ model: "no-such-model", max_tokens: 9, messages })],
]) {
  try {
    await ask();
  } catch (error) {
    seen[name] = error.constructor.name;
  }
}
console.log(JSON.stringify(seen));
