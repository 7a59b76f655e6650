/** The words in the person's language. One language so far. */
import { en, type Words } from './messages/en';

export const words: Words = en;
