'use agent';
// The agent that crabbox runs commands by, for Flue 2. Its model is no model: it answers a message by running
// the request that the message names. No key, no network.
import { createAssistantMessageEventStream, createProvider } from '@earendil-works/pi-ai';
import { setProvider, useModel } from '@flue/runtime';

import { runRequest } from '../crabbox-runner.mjs';

const API = 'crabbox-requests';
const NOTHING = { input: 0, output: 0, cacheRead: 0, cacheWrite: 0 };

/** The message that asked, as text. */
function lastMessage(context: any): string {
  const asked = context.messages.findLast((message: any) => message.role === 'user');
  const content = asked?.content ?? '';
  return typeof content === 'string' ? content : content.map((part: any) => part.text ?? '').join('');
}

/** Whatever happens is an answer: Flue asks again after an error that looks as if it might pass. */
async function answerTo(context: any): Promise<string> {
  try {
    const { requestFile } = JSON.parse(lastMessage(context));
    return JSON.stringify(await runRequest(requestFile));
  } catch (error: any) {
    return JSON.stringify({ protocolVersion: 1, error: { kind: 'internal', message: String(error?.message) } });
  }
}

function stream(model: any, context: any) {
  const events = createAssistantMessageEventStream();
  void answerTo(context).then((text) => {
    const message: any = {
      role: 'assistant',
      content: [{ type: 'text', text }],
      api: API,
      provider: model.provider,
      model: model.id,
      stopReason: 'stop',
      timestamp: Date.now(),
      usage: { ...NOTHING, totalTokens: 0, cost: { ...NOTHING, total: 0 } },
    };
    events.push({ type: 'start', partial: { ...message, content: [], stopReason: 'pending' } });
    events.push({ type: 'text_start', contentIndex: 0, partial: message });
    events.push({ type: 'text_delta', contentIndex: 0, delta: text, partial: message });
    events.push({ type: 'text_end', contentIndex: 0, content: text, partial: message });
    events.push({ type: 'done', reason: 'stop', message });
    events.end(message);
  });
  return events;
}

setProvider(
  createProvider({
    id: 'crabbox',
    auth: { apiKey: { name: 'none', resolve: async () => ({ auth: {} }) } },
    models: [
      {
        id: 'runner',
        name: 'crabbox runner',
        api: API,
        provider: 'crabbox',
        baseUrl: 'http://localhost:0',
        reasoning: false,
        input: ['text'],
        cost: NOTHING,
        contextWindow: 1_000_000,
        maxTokens: 1_000_000,
      },
    ],
    api: { stream, streamSimple: stream },
  }),
);

export function Crabbox() {
  useModel('crabbox/runner');
  return 'Runs one request of crabbox.';
}

Crabbox.agentName = 'crabbox';
// A command is run once, and for as long as it takes. Flue's own: ten attempts, an hour.
Crabbox.durability = { maxAttempts: 1, timeoutMs: 30 * 24 * 60 * 60 * 1000 };
