/** Person → the safety code that was compared with them by voice. For as long as the page, and so its certificate, lives. */
export const compared = $state<Record<string, string>>({});
