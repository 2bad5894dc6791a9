// Conversations are kept in memory: nothing of a run outlives it, and runs do not wait for each other's
// locks. Remove or change this if your own agents need their conversations.
import { sqlite } from '@flue/runtime/node';

export default sqlite();
